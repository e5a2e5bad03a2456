/**
 * Defects that real systems had, put back into the code under test one at a time. A simulator that does not find them
 * finds nothing.
 */
import type { Plan } from './plan.ts';
import { HOST_MUTATIONS } from './mutations-host.ts';
import { GROWING, PROTECTED, RESERVED, SERVED, STALE_WRITES } from './scenarios.ts';

export interface Mutation {
  /** The historical defect. */
  readonly name: string;
  /** What simulations must be about to show it; default: whatever the swarm draws. */
  readonly plan?: Partial<Plan>;
  readonly edits: readonly {
    readonly file: string;
    /** Exact text, once in the file. */
    readonly from: string;
    readonly to: string;
  }[];
}

const TARGET_QUEUE = 'src/target/queue.ts';
const HOST_QUEUE = 'src/initiator/queue.ts';
const VOLUME = 'src/storage/volume.ts';

/** The owner gives up, and his slot is free at once although the command is still with the controller. */
const FREE_AT_ONCE = {
  file: HOST_QUEUE,
  from: `    const request = slot.replace();
    request.status = Status.AbortedByHost;
    this.#release(request);`,
  to: `    const request = slot.request!;
    slot.answered = true;
    request.status = Status.AbortedByHost;
    this.#finish(slot);`,
};

const HEAD = 'src/initiator/head.ts';
const TRAFFIC = 'src/initiator/traffic.ts';

export const MUTATIONS: readonly Mutation[] = [
  ...HOST_MUTATIONS,
  {
    name: 'the requeue list is kicked before the path is visible (QUIESCE.3)',
    edits: [
      {
        file: HEAD,
        from: `    this.#candidates = this.#choose();
    this.traffic.kick();`,
        to: `    this.traffic.kick();
    this.#candidates = this.#choose();`,
      },
    ],
  },
  {
    name: 'setting a path live waits for those who wait for a path (QUIESCE.2)',
    edits: [
      {
        file: HEAD,
        from: 'for (const path of this.paths) path.look();\n    this.#settle();',
        to: `for (const path of this.paths) path.look();
    if (this.outlook === 'requeue' && this.traffic.inFlight > 0) return;
    this.#settle();`,
      },
    ],
  },
  {
    name: 'what a reset froze stays frozen when the first attempt to connect again fails (QUIESCE.4)',
    edits: [
      {
        file: 'src/initiator/controller-paths.ts',
        from: 'this.#lookedAt = true;',
        to: 'this.#lookedAt = this.controller.attempts <= 1;',
      },
    ],
  },
  {
    name: 'an I/O that waits is forgotten when the path that comes back refuses it (QUIESCE.3)',
    edits: [
      {
        file: TRAFFIC,
        from: `      if (path === 'requeue') {
        this.#requeued.add(io);`,
        to: `      if (path === 'requeue') {
        if (!io.sent) this.#requeued.add(io);`,
      },
    ],
  },
  {
    name: 'an ANA log is applied before the controller is live (QUIESCE.11)',
    edits: [
      {
        file: 'src/initiator/ana.ts',
        from: `    if (this.#owner.live) this.#apply(log);
    else this.#early = log;`,
        to: '    this.#apply(log);',
      },
    ],
  },
  {
    name: 'the removal timer ignores a path that has returned (HEAD.4)',
    edits: [
      {
        file: HEAD,
        from: `        this.state.after('delayed removal', this.#delayedRemoval * 1000, () => {`,
        to: `        this.env.clock.timer('delayed removal', this.#delayedRemoval * 1000, () => {
          this.remove('no path came in time');`,
      },
    ],
  },
  {
    name: 'I/O that waits for a head that is removed is not ended (HEAD.5)',
    edits: [{ file: HEAD, from: 'this.traffic.stop();', to: '' }],
  },
  {
    name: 'a write that may have left is repeated at once under safe (GHOST.2)',
    plan: STALE_WRITES,
    edits: [
      {
        file: 'src/initiator/failover.ts',
        from: `return ended.provable ? 'hold' : 'unknown';`,
        to: `return 'failover';`,
      },
      {
        file: TRAFFIC,
        from: `if (provable && writeFailover === 'safe'`,
        to: `if (provable && writeFailover === 'immediate'`,
      },
    ],
  },
  {
    name: 'accept a late completion of a recycled CID',
    edits: [
      FREE_AT_ONCE,
      {
        file: 'src/initiator/slot.ts',
        from: 'this.cid = (this.cid + (1 << INDEX_BITS)) & 0xffff;',
        to: '',
      },
    ],
  },
  { name: 'free the CID before its command is answered or its connection dead', edits: [FREE_AT_ONCE] },
  {
    name: 'data of a read that was given up lands in the buffer that was given back',
    edits: [
      {
        file: 'src/initiator/slot.ts',
        from: 'this.#discard = true;',
        to: 'ghost.parts.push(...request.parts);',
      },
    ],
  },
  {
    name: 'a number of a connect that failed is not given back (NUM.8)',
    edits: [
      {
        file: 'src/initiator/registry.ts',
        from: `    this.numbers.release(controller.instance, 'controller');
    this.identities`,
        to: `    if (controller.subsystem !== undefined) this.numbers.release(controller.instance, 'controller');
    this.identities`,
      },
    ],
  },
  {
    name: 'number freed while its subsystem owns it (NUM.7)',
    edits: [
      {
        file: 'src/initiator/registry.ts',
        from: `    subsystem.forget(controller);
    this.collect(subsystem);`,
        to: `    subsystem.forget(controller);
    if (controller.instance === subsystem.instance) this.numbers.release(controller.instance, 'subsystem');
    this.collect(subsystem);`,
      },
    ],
  },
  {
    name: 'a failed reconnect is not followed by another (QUIESCE.4)',
    edits: [
      {
        file: 'src/initiator/controller.ts',
        from: `    else if (this.#soon) this.attempt();
    else loss.wait();`,
        to: `    else if (this.#soon) this.attempt();
    else if (loss.attempts === 0) loss.wait();`,
      },
    ],
  },
  {
    name: 'a port that returns does not wake the controllers that wait for it (PORT.7)',
    edits: [
      {
        file: 'src/initiator/ports.ts',
        from: 'if (this.#away.has(name) || this.#away.has(key)) return undefined;',
        to: 'if (controller.suspended) return undefined;',
      },
      {
        file: 'src/initiator/controller.ts',
        from: 'if (!this.mayReturn || loss?.portLostAt === undefined) return;',
        to: 'if (this.mayReturn || loss === undefined) return;',
      },
    ],
  },
  {
    name: 'fail on no free slot instead of waiting',
    edits: [
      {
        file: HOST_QUEUE,
        from: `      request.place = 'waiting';
      this.#waiting.push(request);`,
        to: `      request.queue = undefined;
      return false;`,
      },
    ],
  },
  {
    name: 'timer not cancelled on leaving a state',
    edits: [
      {
        file: 'src/runtime/machine.ts',
        from: 'for (const timer of this.#timers.values()) timer.cancel();',
        to: '',
      },
    ],
  },
  {
    name: 'namespace closed with its controller',
    edits: [
      {
        file: 'src/target/controller.ts',
        from: 'this.subsystem.controllers.delete(this.cntlid);',
        to: `this.subsystem.controllers.delete(this.cntlid);
    for (const { volume } of this.subsystem.namespaces.values()) volume.close(() => undefined);`,
      },
    ],
  },
  {
    name: 'event lost: no new request after an asynchronous event',
    edits: [
      {
        file: 'src/initiator/events.ts',
        from: `    this.#arm();
    const length`,
        to: `    const length`,
      },
    ],
  },
  {
    name: 'event lost: a change while a scan runs does not start another',
    plan: GROWING,
    edits: [
      {
        file: 'src/initiator/scan.ts',
        from: 'this.#again = this.#running;',
        to: 'this.#again = false;',
      },
    ],
  },
  {
    name: 'data digest not checked',
    edits: [
      {
        file: 'src/pdu/receiver.ts',
        from: 'const digestOk = !this.#hasDigest || this.#received >>> 0 === this.#crc;',
        to: 'const digestOk = true;',
      },
    ],
  },
  {
    name: 'header digest not checked',
    edits: [
      {
        file: 'src/pdu/receiver.ts',
        from: 'if (received !== this.#crc32c(this.#scratch.subarray(0, info.hlen), 0))',
        to: 'if (received < 0)',
      },
    ],
  },
  {
    name: 'flush acknowledged before fdatasync',
    edits: [
      {
        file: 'src/storage/flush.ts',
        from: `      this.#next.push(op);
      this.#start();`,
        to: `      if (op.kind === 'flush') this.#user.synced(op, undefined);
      else this.#next.push(op);
      this.#start();`,
      },
    ],
  },
  {
    name: 'a flush joins the sync that runs already',
    edits: [
      {
        file: 'src/storage/flush.ts',
        from: `      this.#next.push(op);
      this.#start();`,
        to: `      if (this.#running) this.#current.push(op);
      else this.#next.push(op);
      this.#start();`,
      },
    ],
  },
  {
    name: 'FUA acknowledged before fdatasync',
    edits: [
      {
        file: VOLUME,
        from: `if (error || !op.fua || op.kind === 'deallocate') this.finish(op, error);`,
        to: `if (op.kind !== 'flush') this.finish(op, error);`,
      },
    ],
  },
  {
    name: 'flush succeeds again after a failed fdatasync',
    edits: [
      { file: 'src/storage/flush.ts', from: 'this.#failure = error;', to: '' },
      {
        file: VOLUME,
        from: `if (!error && this.#failure && op.kind !== 'read')`,
        to: `if (!error && this.#failure && op.kind === 'write')`,
      },
    ],
  },
  {
    name: 'overlapping commands reordered: a read passes a write (ORDER)',
    edits: [
      {
        file: VOLUME,
        from: `else if (op.kind === 'read' && !op.hold && this.#ranges.isClear(op)) this.#start(op);`,
        to: `else if (op.kind === 'read' && !op.hold) this.#start(op);`,
      },
    ],
  },
  {
    name: 'overlapping commands reordered: nobody waits for a range (ORDER)',
    edits: [
      {
        file: 'src/storage/ranges.ts',
        from: '(isWhole ? WHOLE : 0) + (op.modifies ? MODIFIES : 0)',
        to: '(isWhole ? WHOLE : 0)',
      },
    ],
  },
  {
    name: 'commands of a lost connection give up their blocks before storage is done (GHOST.1)',
    edits: [
      {
        file: 'src/target/stopping.ts',
        from: `if (pair !== undefined) queue.abandon(pair.second);
    }`,
        to: `if (pair !== undefined) queue.abandon(pair.second);
    }
    for (const command of queue.commands())
      if (command.phase === 'executing' && command.volume !== undefined) {
        command.parked = true;
        queue.executing--;
      }`,
      },
    ],
  },
  {
    name: 'a lent slice reused before the socket took it',
    edits: [
      {
        file: TARGET_QUEUE,
        from: `      command.phase = 'sending';
      this.connection.sender.notify(command);`,
        to: `      command.phase = 'sending';
      this.sent(command);`,
      },
    ],
  },
  {
    name: 'a write does not wait for blocks that a socket has (lending)',
    edits: [
      {
        file: VOLUME,
        from: `else if (this.#lending?.isInTheWay(op) === true) op.stage = 'lent';`,
        to: '',
      },
    ],
  },
  {
    name: 'the range is not held between the compare and the write of a fused pair (ORDER.2)',
    edits: [
      {
        file: 'src/target/fused.ts',
        from: 'pair.first.op.hold = true;',
        to: 'pair.first.op.hold = false;',
      },
    ],
  },
  {
    name: 'a copy does not keep others from writing to what it reads (ORDER.2)',
    edits: [
      {
        file: 'src/storage/copy-ranges.ts',
        from: 'for (const { offset, length } of op.sources) {',
        to: 'for (const { offset, length } of op.sources.slice(1)) {',
      },
    ],
  },
  {
    name: 'the second range of a copy goes over the first',
    edits: [
      {
        file: 'src/storage/copier.ts',
        from: 'op.position += length;',
        to: 'op.position = op.offset;',
      },
    ],
  },
  {
    name: 'Preempt and Abort leaves commands that wait for their data, whose gates nobody looks at again',
    plan: {
      ...RESERVED,
      reserveOneIn: 3,
      link: { latency: 2000, jitter: 5000, bandwidth: 20_000, segment: 1460, window: 4096, take: 500 },
      faults: [],
    },
    edits: [
      {
        file: 'src/target/reservations.ts',
        from: `this.#place.abort(new Set(abort), () => {
      this.#end(request, 0);
    });`,
        to: 'this.#end(request, 0);',
      },
      {
        file: 'src/target/blocks.ts',
        from: 'const refused = command.problem || gate;',
        to: 'const refused = command.problem || (gate === 0 ? 0 : 0);',
      },
    ],
  },
  {
    name: 'a reservation is answered before it is on stable storage (PTPL)',
    plan: { ...RESERVED, duration: 3000 },
    edits: [
      {
        file: 'src/target/reservations.ts',
        from: `this.#place.save(factsOf(outcome.state), (error) => {
      if (error === undefined) this.#apply(request, outcome);
      else this.#notKept(request, error);
    });`,
        to: `this.#place.save(factsOf(outcome.state), () => undefined);
    this.#apply(request, outcome);`,
      },
    ],
  },
  {
    name: 'a generation goes back to 0 when the target starts again (PTPL)',
    plan: RESERVED,
    edits: [
      {
        file: 'src/target/reservation-facts.ts',
        from: 'generation: generation as number,',
        to: 'generation: 0,',
      },
    ],
  },
  {
    name: 'plain Acquire counts the generation',
    edits: [
      {
        file: 'src/target/reservation.ts',
        from: 'return changed({ ...state, ...held(rtype, hostid) });',
        to: 'return changed(counted({ ...state, ...held(rtype, hostid) }));',
      },
    ],
  },
  {
    name: 'attachments do not learn that a reservation has changed',
    edits: [
      {
        file: 'src/target/reservations.ts',
        from: 'this.#place.changed();',
        to: '',
      },
    ],
  },
  {
    name: 'a deleted subsystem keeps the controllers that are not ready yet (LIFE.9)',
    edits: [
      {
        file: 'src/target/target.ts',
        from: "for (const controller of [...subsystem.controllers.values()]) controller.remove('subsystem deleted');",
        to: "for (const controller of [...subsystem.controllers.values()]) if (controller.ready) controller.remove('subsystem deleted');",
      },
    ],
  },
  {
    name: 'controllers that run do not get the namespace that is added (LIFE.3)',
    edits: [
      {
        file: 'src/target/subsystem.ts',
        from: `this.groupChanges.add(namespace.anagrpid);
    this.#offer(namespace);`,
        to: 'this.groupChanges.add(namespace.anagrpid);',
      },
    ],
  },
  {
    name: 'R2T granted without budget',
    edits: [
      {
        file: 'src/target/grants.ts',
        from: 'if (!writeBudget.take(length, this)) return;',
        to: 'if (writeBudget.limit < length) return;',
      },
    ],
  },
  {
    name: 'what a write has is received over while it waits',
    edits: [{ file: TARGET_QUEUE, from: 'return this.#holders > 0;', to: 'return false;' }],
  },
  {
    name: 'Verify is answered without reading',
    edits: [
      {
        file: 'src/target/blocks.ts',
        from: `    command.length = 0;
    return status;
  },
  execute(command) {
    command.op.kind = 'read';
    submit(command);
  },`,
        to: `    command.length = 0;
    return status;
  },
  execute(command) {
    command.complete(0);
  },`,
      },
    ],
  },
  {
    name: 'Verify with FUA does not wait for a sync',
    edits: [
      {
        file: 'src/target/blocks.ts',
        from: `    volume!.giveBack(op);
    if (fua) syncThen(command, 0);
    else command.complete(0);`,
        to: `    volume!.giveBack(op);
    command.complete(0 * Number(fua));`,
      },
    ],
  },
  {
    name: 'a write that was cancelled while its data was on its way is carried out',
    edits: [
      {
        file: TARGET_QUEUE,
        from: `    if (command.problem !== 0) this.complete(command, command.problem);
    else if (command.received`,
        to: `    if (command.problem === Status.TransientTransportError) this.complete(command, command.problem);
    else if (command.received`,
      },
      {
        file: 'src/target/blocks.ts',
        from: 'const refused = command.problem || gate;',
        to: 'const refused = gate;',
      },
    ],
  },
  {
    name: 'an aborted write stays in line, and is carried out after its answer',
    edits: [
      {
        file: 'src/target/stopping.ts',
        from: `if (command.phase === 'granting') this.#queue.grants.remove(command);`,
        to: `if (command.phase === 'granting') return true;`,
      },
    ],
  },
  {
    name: 'Cancel counts what it could not stop',
    edits: [
      {
        file: 'src/target/stopping.ts',
        from: `      else if (command.problem !== 0) later++;`,
        to: `      else later++;`,
      },
    ],
  },
  {
    name: 'write protection is answered before what is under way has ended',
    plan: PROTECTED,
    edits: [
      {
        file: 'src/target/write-protect.ts',
        from: '  settle(namespace, (error) => {',
        to: '  ((_: unknown, then: (error: undefined | IoError) => void) => then(undefined))(settle, (error) => {',
      },
    ],
  },
  {
    name: 'write protection is looked at when a command comes, but not when it starts',
    plan: PROTECTED,
    edits: [
      {
        file: 'src/target/blocks.ts',
        from: '        : attachment!.writeRefusal;\n  // Of several',
        to: '        : attachment!.flushRefusal;\n  // Of several',
      },
    ],
  },
  {
    name: 'write protection does not survive a restart',
    plan: PROTECTED,
    edits: [
      {
        file: 'src/target/namespace.ts',
        from: 'this.protection = protectionOf(this.facts.writeProtect);',
        to: 'this.protection = protectionOf(this.facts.writeProtect) * 0;',
      },
    ],
  },
  {
    name: 'write protection is answered before it is kept',
    plan: PROTECTED,
    edits: [
      {
        file: 'src/target/write-protect.ts',
        from: '    else save(namespace, to, saved);',
        to: '    else {\n      save(namespace, to, () => undefined);\n      end(to, 0);\n    }',
      },
    ],
  },
  {
    name: 'a change of write protection that is not true yet is answered to a second host',
    plan: PROTECTED,
    edits: [
      {
        file: 'src/target/write-protect.ts',
        from: '  if (namespace.protecting) {',
        to: '  if (namespace.protecting && from !== to) {',
      },
    ],
  },
  {
    name: 'Reservation Persistence that Set Features sets is not kept (PTPL)',
    plan: { ...RESERVED, persistOneIn: 3 },
    edits: [
      {
        file: 'src/target/reservations.ts',
        from: 'if (!before.ptpl && !outcome.state.ptpl) {',
        to: "if (action.name === 'persist' || (!before.ptpl && !outcome.state.ptpl)) {",
      },
    ],
  },
  {
    name: 'an NBD read buffer is used again before the socket took it',
    plan: {
      ...SERVED,
      disk: { blockSize: 512, latency: 10, jitter: 0, syncLatency: 50, residentOneIn: 1, canPunch: true },
      link: { latency: 5, jitter: 10, bandwidth: 2_000_000, segment: 65_536, window: 65_536, take: 0 },
      duration: 50,
      faults: [],
    },
    edits: [{ file: 'src/nbd/read.ts', from: 'sender.notify(piece);', to: 'piece.sent();' }],
  },
  {
    name: 'NBD: FUA of a write is forgotten',
    plan: SERVED,
    edits: [
      {
        file: 'src/nbd/commands.ts',
        from: 'request.connection.device.write(offset, parts, request.has(fua), request.operationDone),',
        to: 'request.connection.device.write(offset, parts, false, request.operationDone),',
      },
    ],
  },
  {
    name: 'NBD: a flush is answered at once',
    plan: SERVED,
    edits: [
      {
        file: 'src/nbd/commands.ts',
        from: 'request.cancels.push(request.connection.device.flush(request.operationDone));',
        to: 'request.operationDone(undefined);',
      },
    ],
  },
  {
    name: 'NBD: what a client that has gone had under way is not given up, nor waited for',
    plan: SERVED,
    edits: [
      {
        file: 'src/nbd/requests.ts',
        from: "      if (request.phase === 'admitted') this.#over(request);\n      else request.cancel();",
        to: '      this.#over(request);',
      },
    ],
  },
];
