/** Linux host → our target: what discovery tells, once, and for as long as somebody listens. */
import { HOST_ADDRESS } from '../guest.ts';
import { FROM_LINUX, type Scenario } from '../scenario.ts';
import type { TestTarget } from '../test-target.ts';

const at = (target: TestTarget): string =>
  `-t tcp -a ${HOST_ADDRESS} -s ${target.port} -q $hostnqn -I $hostid`;

const discover: Scenario = {
  name: 'discover',
  shows:
    'nvme discover, as text and as JSON; what is added, hidden, shown and removed is seen, and moves GENCTR ' +
    '(nvme/030, 038)',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target();
    const text = await context.guest.run(`nvme discover ${at(target)}`);
    context.check(text.includes(target.nqn), `nvme discover does not show ${target.nqn}:\n${text}`);
    let last = 0;
    /** Which of the two it finds; GENCTR has moved. */
    const found = async (what: string, ...nqns: string[]): Promise<void> => {
      const json = await context.guest.run(`nvme discover ${at(target)} -o json`);
      const { genctr, records } = JSON.parse(json) as {
        genctr: number;
        records: { subnqn: string; trtype: string; subtype: string }[];
      };
      const ours = records.filter(({ subnqn }) => subnqn.startsWith(target.nqn));
      context.equal(ours.map(({ subnqn }) => subnqn).join(), nqns.join(), `${what}: the subsystems`);
      context.check(
        ours.every(({ trtype }) => trtype === 'tcp'),
        `records: ${json}`,
      );
      context.equal(genctr, target.target.genctr, `${what}: GENCTR`);
      context.check(genctr > last, `${what}: GENCTR is ${genctr}, and was ${last}`);
      last = genctr;
    };
    const nqn = `${target.nqn}-other`;
    await found('at first', target.nqn);
    const other = target.target.addSubsystem({ nqn, serial: 'OTHER', model: 'nvme-tcp' });
    await found('one more', target.nqn, nqn);
    other.setHosts([`${target.nqn}:nobody`]);
    await found('not for this host', target.nqn);
    other.setHosts(undefined);
    await found('for every host', target.nqn, nqn);
    target.target.removeSubsystem(other, false, () => undefined);
    await found('one less', target.nqn);
  },
};

/** The port as the guest reaches it, which is what discovery has to tell. */
function behindRelay(target: TestTarget): void {
  for (const port of target.target.ports.list) port.address = { host: HOST_ADDRESS, port: target.port };
}

const live = (kind: string): string =>
  `live() { local each; for each in /sys/class/nvme/nvme*; do
    [ "$(cat $each/cntrltype 2>/dev/null) $(cat $each/state 2>/dev/null)" = "${kind} live" ] && basename $each
  done; }\n`;

/** How many discovery controllers with keep-alives there are. */
const persistent = (target: TestTarget): number => target.target.discovery.controllers.size;

const connectAll: Scenario = {
  name: 'connect-all',
  shows:
    'nvme connect-all with a referral and a persistent discovery controller, which stays by its keep-alives (nvme/003) ' +
    'and hears of a change; connect-all over it then connects what is new',
  direction: FROM_LINUX,
  async run(context) {
    const target = await context.target();
    const referred = await context.target();
    const nqns = ['two', 'far'].map((name) => `${target.nqn}-${name}`) as [string, string];
    for (const [i, each] of [target, referred].entries()) {
      behindRelay(each);
      const subsystem = each.target.addSubsystem({ nqn: nqns[i]!, serial: `ALL${i}`, model: 'nvme-tcp' });
      each.target.addNamespace(subsystem, each.target.env.files.memory(2 ** 20), {
        nsid: 1,
        uuid: `5c3f2a10-6c1e-4a53-9d5e-00000000100${i}`,
        blockSize: 512,
        readOnly: false,
      });
    }
    // One of its name is enough.
    referred.target.removeSubsystem(referred.subsystem, false, () => undefined);
    const [port] = target.target.ports.list;
    target.target.ports.setReferrals(port!, [{ address: { host: HOST_ADDRESS, port: referred.port } }]);
    await context.guest.run(
      `nvme connect-all ${at(target)} -k 2 --persistent >/tmp/out 2>&1 || fail "connect-all: $(cat /tmp/out)"
      for nqn in ${[target.nqn, ...nqns].join(' ')}; do verify $(disk $nqn) 64; done
      ${live('discovery')} [ -n "$(live)" ] || fail "no discovery controller is left: $(cat /tmp/out)"`,
    );
    context.check(persistent(target) >= 1, 'our target has no discovery controller');
    // Longer than KATO: it lives by its keep-alives.
    await context.guest.run(`sleep 5; ${live('discovery')} [ -n "$(live)" ] || fail "it is gone"`);
    context.check(persistent(target) >= 1, 'our target has no discovery controller any more');
    const nqn = `${target.nqn}-new`;
    const { asyncEvents } = target.wire.traffic;
    const subsystem = target.target.addSubsystem({ nqn, serial: 'NEW', model: 'nvme-tcp' });
    target.target.addNamespace(subsystem, target.target.env.files.memory(2 ** 20), {
      nsid: 1,
      uuid: '5c3f2a10-6c1e-4a53-9d5e-000000002000',
      blockSize: 512,
      readOnly: false,
    });
    await context.until('the event', 60, () => target.wire.traffic.asyncEvents > asyncEvents);
    // What udev does with the event where there is udev.
    await context.guest.run(
      `${live('discovery')} name=$(live | head -1)
      nvme connect-all --device=$name ${at(target)} >/tmp/out 2>&1 || fail "connect-all: $(cat /tmp/out)"
      verify $(disk ${nqn}) 64
      [ $(live | wc -l) -le 2 ] || fail "discovery controllers: $(live)"`,
    );
    // Without an event to be waited for: nvme-cli 2.3 reads the log with RAE only, so that there is no second one.
    target.target.ports.setReferrals(port!, []);
    const left = await context.guest.run(`nvme discover ${at(target)}`);
    context.check(!left.includes('referral'), `the referral is still there:\n${left}`);
    await context.guest.run('nvme disconnect-all || fail "disconnect-all"');
  },
};

export const LINUX_DISCOVERS: readonly Scenario[] = [discover, connectAll];
