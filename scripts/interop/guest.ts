/** A booted kernel: QEMU, its kernel log, and a shell in it that runs one step after the other. */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, copyFileSync, appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Archive } from './cpio.ts';
import type { Image } from './image.ts';
import { LabError, whereIs } from './tool.ts';

export type Accelerator = 'kvm' | 'tcg';

export interface GuestOptions {
  readonly image: Image;
  readonly accelerator: Accelerator;
  /** Where its files are, and stay: console.log, initrd. */
  readonly folder: string;
  /** The folder with init and lib.sh. */
  readonly scripts: string;
  /** TCP ports of 127.0.0.1 that lead to ports of the guest. */
  readonly forwards: readonly { readonly from: number; readonly to: number }[];
}

export interface Step {
  readonly status: number;
  readonly output: string;
}

/** This machine's 127.0.0.1, as the guest sees it. */
export const HOST_ADDRESS = '10.0.2.2';

const BOOT_SECONDS = 180;
const COMPLAINT =
  /BUG:|Oops|WARNING:|Kernel panic|blocked for more than|hung_task|general protection|detected.*stalls?|lockdep|unable to handle|refcount_t:|use-after-free|double free/;
const NO_COMPLAINT = /ommand line:|Kernel log/;

/** KVM, where the processor has what Debian's kernels need for it and we may use it. */
export function accelerator(): Accelerator {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK);
    return /\b(vmx|svm)\b/.test(readFileSync('/proc/cpuinfo', 'utf8')) ? 'kvm' : 'tcg';
  } catch {
    return 'tcg';
  }
}

export class Guest {
  readonly console: string;
  /** `uname -r`. */
  release = '';
  readonly #qemu: ChildProcess;
  #buffer = '';
  #waiting: ((line: string | undefined) => void) | undefined = undefined;
  #ended: string | undefined = undefined;
  /** How much of the console was looked at. */
  #seen = 0;
  #errors = '';

  private constructor(options: GuestOptions) {
    const { image, folder, accelerator: accel } = options;
    this.console = join(folder, 'console.log');
    writeFileSync(this.console, '');
    const initrd = join(folder, 'initrd');
    makeInitrd(image, options.scripts, initrd);
    const forwards = options.forwards.map(({ from, to }) => `,hostfwd=tcp:127.0.0.1:${from}-:${to}`).join('');
    const machine =
      accel === 'kvm'
        ? ['-accel', 'kvm', '-cpu', 'host']
        : ['-accel', 'tcg,thread=multi,tb-size=512', '-cpu', 'max,la57=off'];
    const kernel = [
      'console=ttyS0 panic=-1 nokaslr mitigations=off apparmor=0 selinux=0 audit=0 random.trust_cpu=on',
      ...(accel === 'kvm' ? [] : ['tsc=reliable no_timer_check']),
      'nvme_core.multipath=Y sysctl.kernel.hung_task_timeout_secs=90 watchdog_thresh=40',
    ].join(' ');
    const args = [
      ...['-machine', 'q35', ...machine, '-smp', '2', '-m', '1536'],
      ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none', '-monitor', 'none'],
      ...['-kernel', image.kernel, '-initrd', initrd, '-append', kernel],
      ...['-serial', `file:${this.console}`],
      ...['-chardev', 'stdio,id=steps,signal=off', '-serial', 'chardev:steps'],
      ...['-netdev', `user,id=net,ipv6=off${forwards}`, '-device', 'virtio-net-pci,netdev=net,romfile='],
      ...['-object', 'rng-random,id=rng,filename=/dev/urandom', '-device', 'virtio-rng-pci,rng=rng'],
    ];
    this.#qemu = spawn(whereIs('qemu-system-x86_64') ?? 'qemu-system-x86_64', args, {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#qemu.stdout?.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    this.#qemu.stderr?.setEncoding('utf8').on('data', (text: string) => (this.#errors += text));
    // What is written after its end is told by the exit.
    this.#qemu.stdin?.on('error', () => undefined);
    this.#qemu.on('error', (error) => this.#end(error.message));
    this.#qemu.on('exit', (status, signal) => this.#end(`QEMU ended: ${signal ?? `status ${status}`}`));
  }

  /** Rejects with LabError when the guest does not come up. */
  static async boot(options: GuestOptions): Promise<Guest> {
    const guest = new Guest(options);
    const seconds = options.accelerator === 'kvm' ? 60 : BOOT_SECONDS;
    const ready = await guest.#until(/^@@ready (.*)$/, seconds);
    if (typeof ready === 'string') {
      await guest.stop();
      const log = readFileSync(guest.console, 'utf8').trim().split('\n').slice(-15).join('\n  ');
      throw new LabError(`the guest did not come up (${options.accelerator}): ${ready}\n  ${log}`);
    }
    guest.release = ready.match[1] ?? '';
    return guest;
  }

  get alive(): boolean {
    return this.#ended === undefined;
  }

  /** Runs bash text in the guest. Rejects when it takes too long or the guest dies: then it is of no more use. */
  async step(text: string, seconds = 180): Promise<Step> {
    if (this.#ended !== undefined) throw new Error(this.#ended);
    this.#buffer = '';
    this.#qemu.stdin?.write(`${Buffer.from(text).toString('base64')}\n`);
    const result = await this.#until(/^@@done (\d+)$/, seconds);
    if (typeof result !== 'string')
      return { status: Number(result.match[1]), output: result.before.replace(/\n$/, '') };
    await this.stop();
    throw new Error(`${result} in the guest's step:\n${text}\nIts output so far:\n${this.#buffer}`);
  }

  /** As `step`; rejects, with the output, when it fails. Gives the output without space around it. */
  async run(text: string, seconds?: number): Promise<string> {
    const { status, output } = await this.step(text, seconds);
    if (status === 0) return output.trim();
    throw new Error(`status ${status} of the guest's step:\n${text.trim()}\nIts output:\n${output.trim()}`);
  }

  /** Lines of the kernel log since the last call with which the kernel complains. */
  complaints(): string[] {
    const text = readFileSync(this.console, 'utf8');
    const fresh = text.slice(this.#seen);
    this.#seen = text.length;
    return fresh.split('\n').filter((line) => COMPLAINT.test(line) && !NO_COMPLAINT.test(line));
  }

  async stop(): Promise<void> {
    if (this.#ended !== undefined) return;
    const exited = new Promise<void>((resolve) => this.#qemu.once('exit', () => resolve()));
    this.#qemu.kill('SIGKILL');
    await exited;
  }

  #read(text: string): void {
    this.#buffer += text.replaceAll('\r', '');
    this.#waiting?.(undefined);
  }

  #end(why: string): void {
    this.#ended ??= `${why} ${this.#errors.trim().slice(0, 2000)}`.trim();
    this.#waiting?.(this.#ended);
  }

  /** What came before the line that matches, or why it never will. */
  #until(line: RegExp, seconds: number): Promise<{ match: RegExpExecArray; before: string } | string> {
    const pattern = new RegExp(line.source, 'm');
    return new Promise((resolve) => {
      const settle = (result: { match: RegExpExecArray; before: string } | string): void => {
        clearTimeout(timer);
        this.#waiting = undefined;
        resolve(result);
      };
      const look = (ended: string | undefined): void => {
        const match = pattern.exec(this.#buffer);
        // The line is whole only when its end is there too.
        if (match !== null && this.#buffer[match.index + match[0].length] === '\n')
          settle({ match, before: this.#buffer.slice(0, match.index) });
        else if (ended !== undefined) settle(ended);
      };
      const timer = setTimeout(() => settle(`no end after ${seconds} s`), seconds * 1000);
      this.#waiting = look;
      look(this.#ended);
    });
  }
}

/** The image, with init and the functions for steps laid over it. */
function makeInitrd(image: Image, scripts: string, to: string): void {
  const overlay = new Archive();
  overlay.file('init', join(scripts, 'init'), 0o755);
  overlay.file('interop/lib.sh', join(scripts, 'lib.sh'));
  overlay.write(`${to}.overlay`);
  copyFileSync(image.initramfs, to);
  appendFileSync(to, readFileSync(`${to}.overlay`));
}
