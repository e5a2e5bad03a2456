# What the steps of a scenario are made of. Every function fails with a reason on its output.
hostnqn=nqn.2014-08.org.nvmexpress:uuid:5c3f2a10-6c1e-4a53-9d5e-0a1b2c3d4e5f
hostid=5c3f2a10-6c1e-4a53-9d5e-0a1b2c3d4e5f
nvmet=/sys/kernel/config/nvmet

fail() { echo "FAILED: $*"; exit 1; }

# wait_for SECONDS COMMAND...: polls until the command succeeds.
wait_for() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -le $end ] || fail "waited in vain for: $*"
    sleep 0.2
  done
}

# ---- the kernel as host

# connect NQN ADDRESS PORT [options of nvme connect]: prints the controller, nvme0.
connect() {
  local nqn=$1 address=$2 port=$3
  shift 3
  nvme connect -t tcp -n "$nqn" -a "$address" -s "$port" -q $hostnqn -I $hostid "$@" >/tmp/connect 2>&1 ||
    fail "nvme connect $*: $(cat /tmp/connect)"
  controller_at "$address" "$port" || fail "connected, and no controller"
}

# What is asked often starts no program: that takes long in an emulated processor.

# controller_at ADDRESS PORT
controller_at() {
  local each address
  for each in /sys/class/nvme/nvme*; do
    address=
    { read -r address <"$each/address"; } 2>/dev/null
    case $address in
      *"traddr=$1,trsvcid=$2"*)
        echo "${each##*/}"
        return 0
        ;;
    esac
  done
  return 1
}

# find_disk NQN NSID: the block device, if it is there.
find_disk() {
  local subsystem disk nqn nsid
  for subsystem in /sys/class/nvme-subsystem/nvme-subsys*; do
    nqn=
    { read -r nqn <"$subsystem/subsysnqn"; } 2>/dev/null
    [ "$nqn" = "$1" ] || continue
    for disk in "$subsystem"/nvme*n*; do
      case ${disk##*/} in *c*n*) continue ;; esac
      nsid=
      { read -r nsid <"$disk/nsid"; } 2>/dev/null
      if [ -b "/dev/${disk##*/}" ] && [ "$nsid" = "$2" ]; then
        echo "/dev/${disk##*/}"
        return 0
      fi
    done
  done
  return 1
}

# disk NQN [NSID]: waits for it, and prints it.
disk() {
  wait_for 20 find_disk "$1" "${2:-1}"
  find_disk "$1" "${2:-1}"
}

no_disk() { ! find_disk "$1" "$2"; }
# disk_has_size NQN NSID BYTES
disk_has_size() { has_size "$(find_disk "$1" "$2")" "$3"; }

disconnect() {
  local said
  said=$(nvme disconnect -n "$1" 2>&1) || fail "nvme disconnect: $said"
  wait_for 20 no_controller "$1"
}
no_controller() {
  local each nqn
  for each in /sys/class/nvme/nvme*; do
    nqn=
    { read -r nqn <"$each/subsysnqn"; } 2>/dev/null
    [ "$nqn" != "$1" ] || return 1
  done
}

# bytes DISK: its size. busybox's blockdev asks the kernel.
bytes() { blockdev --getsize64 "$1"; }
has_size() { [ "$(bytes "$1")" = "$2" ]; }

# ---- data

# verify DISK KIB [BLOCK_KIB [OFFSET_BLOCKS]]: random data, written and read back past the page cache.
verify() {
  local disk=$1 kib=$2 block=${3:-64} offset=${4:-0} sum read
  dd if=/dev/urandom of=/tmp/verify bs=1k count="$kib" 2>/dev/null
  sum=$(sha256sum </tmp/verify)
  dd if=/tmp/verify of="$disk" bs="${block}k" seek="$offset" oflag=direct conv=fsync,notrunc 2>/tmp/dd ||
    fail "dd to $disk: $(cat /tmp/dd)"
  read=$(dd if="$disk" bs="${block}k" skip="$offset" count=$((kib / block)) iflag=direct 2>/dev/null | sha256sum)
  rm /tmp/verify
  [ "$sum" = "$read" ] || fail "$disk does not give back what was written ($kib KiB in blocks of $block)"
}

# is_zero DISK KIB [OFFSET_KIB]
is_zero() {
  local left
  left=$(dd if="$1" bs=64k count=$(($2 / 64)) skip=$((${3:-0} / 64)) iflag=direct 2>/dev/null | tr -d '\0' | wc -c)
  [ "$left" = 0 ] || fail "$1 reads $left bytes that are not zero"
}

# fio_verify DISK [options of fio]: writes and reads, and each block is checked against its crc32c.
fio_verify() {
  local disk=$1
  shift
  fio --name=verify --filename="$disk" --direct=1 --ioengine=libaio --rw=randrw --bs=4k --iodepth=16 \
    --verify=crc32c --verify_fatal=1 --eta=never --output=/tmp/fio "$@" >/tmp/fio.err 2>&1 ||
    fail "fio $*: $(cat /tmp/fio /tmp/fio.err | tail -15)"
  grep -E 'IOPS=' /tmp/fio
}

# ---- the kernel as target

# backing null|file MIB BLOCK_SIZE: prints the device or file, made anew.
backing() {
  local kind=$1 mib=$2 block=$3 at number
  if [ "$kind" = file ]; then
    at=$(mktemp /tmp/backing.XXXXXX)
    truncate -s "${mib}M" "$at"
    echo "$at"
    return
  fi
  modprobe -q null_blk nr_devices=0
  number=$(find /sys/kernel/config/nullb -mindepth 1 -maxdepth 1 -type d | wc -l)
  at=/sys/kernel/config/nullb/nullb$number
  mkdir "$at"
  echo "$mib" >"$at/size"
  echo "$block" >"$at/blocksize"
  echo 0 >"$at/completion_nsec"
  echo 1 >"$at/memory_backed"
  echo 1 >"$at/discard"
  echo 1 >"$at/power" || fail "null_blk"
  echo "/dev/nullb$number"
}

# target NQN PORT BACKING [UUID]: one subsystem with one namespace, on every address.
target() {
  local nqn=$1 port=$2 backing=$3 uuid=${4:-}
  modprobe -q -a nvmet nvmet_tcp
  mkdir "$nvmet/subsystems/$nqn" || fail "subsystem"
  echo INTEROP1 >"$nvmet/subsystems/$nqn/attr_serial"
  echo 1 >"$nvmet/subsystems/$nqn/attr_allow_any_host"
  add_namespace "$nqn" 1 "$backing" "$uuid"
  port "$port"
  serve "$nqn" "$port"
}

# port PORT: a port at that TCP port, on every address, with ANA groups 1 and 2.
port() {
  [ ! -d "$nvmet/ports/$1" ] || return 0
  mkdir "$nvmet/ports/$1" "$nvmet/ports/$1/ana_groups/2" || fail "port $1"
  echo tcp >"$nvmet/ports/$1/addr_trtype"
  echo ipv4 >"$nvmet/ports/$1/addr_adrfam"
  echo 0.0.0.0 >"$nvmet/ports/$1/addr_traddr"
  echo "$1" >"$nvmet/ports/$1/addr_trsvcid"
}

# ana PORT GROUP STATE
ana() { echo "$3" >"$nvmet/ports/$1/ana_groups/$2/ana_state" || fail "ANA state $3"; }

# refer PORT NAME TO: the discovery log of a port refers to another one; unrefer PORT NAME.
refer() {
  local at=$nvmet/ports/$1/referrals/$2
  mkdir "$at" || fail "referral"
  echo tcp >"$at/addr_trtype"
  echo ipv4 >"$at/addr_adrfam"
  echo 127.0.0.1 >"$at/addr_traddr"
  echo "$3" >"$at/addr_trsvcid"
  echo 1 >"$at/enable" || fail "referral $2"
}
unrefer() { rmdir "$nvmet/ports/$1/referrals/$2" || fail "referral $2"; }

# set_attribute NQN NAME VALUE
set_attribute() { echo "$3" >"$nvmet/subsystems/$1/$2" || fail "$2 = $3"; }

# add_namespace NQN NSID BACKING [UUID]
add_namespace() {
  local at=$nvmet/subsystems/$1/namespaces/$2
  mkdir "$at" || fail "namespace $2"
  printf %s "$3" >"$at/device_path"
  case $3 in /dev/*) ;; *) echo 1 >"$at/buffered_io" ;; esac
  [ -z "${4:-}" ] || echo "$4" >"$at/device_uuid" || fail "UUID $4"
  echo 1 >"$at/enable" || fail "namespace $2 on $3"
}

# serve NQN PORT, unserve NQN PORT: the subsystem answers there, or does not any more.
serve() { ln -s "$nvmet/subsystems/$1" "$nvmet/ports/$2/subsystems/$1" || fail "port $2"; }
unserve() { rm "$nvmet/ports/$2/subsystems/$1" || fail "port $2"; }

# ---- the end of every scenario

tidy() {
  local each
  umount /mnt 2>/dev/null
  nvme disconnect-all >/dev/null 2>&1
  for each in "$nvmet"/ports/*/subsystems/*; do [ ! -L "$each" ] || rm "$each"; done
  for each in "$nvmet"/subsystems/*/namespaces/*; do
    [ ! -d "$each" ] || { echo 0 >"$each/enable" && rmdir "$each"; }
  done
  for each in "$nvmet"/ports/*/referrals/* "$nvmet"/ports/*/ana_groups/[2-9]*; do
    [ ! -d "$each" ] || rmdir "$each"
  done
  for each in "$nvmet"/ports/* "$nvmet"/subsystems/*; do [ ! -d "$each" ] || rmdir "$each"; done
  for each in /sys/kernel/config/nullb/nullb*; do [ ! -d "$each" ] || { echo 0 >"$each/power" && rmdir "$each"; }; done
  rm -f /tmp/*
  [ -z "$(ls /sys/class/nvme 2>/dev/null)" ] || fail "controllers are left: $(ls /sys/class/nvme)"
}
