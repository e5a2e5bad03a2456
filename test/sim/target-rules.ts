/** LIFE rules that hold at every moment of every simulation: what belongs to whom in a target, seen from both sides. */
import type { Target } from '../../src/target/target.ts';

/** Says the first that is broken: its number, and how. */
export function brokenLifeRule(target: Target): readonly [rule: string, text: string] | undefined {
  const queues = new Set([...target.ports.connections()].map(({ queue }) => queue));
  for (const [nqn, subsystem] of target.subsystems) {
    const { namespaces, controllers } = subsystem;
    if (subsystem.nqn !== nqn) return ['LIFE.2', `${subsystem.nqn} is listed as ${nqn}`];
    for (const [nsid, namespace] of namespaces) {
      if (namespace.subsystem !== subsystem || namespace.nsid !== nsid)
        return ['LIFE.2', `namespace ${nsid} of ${nqn} is ${namespace.nsid} of ${namespace.subsystem.nqn}`];
      for (const cntlid of namespace.attachments.keys())
        if (!controllers.has(cntlid))
          return ['LIFE.12', `namespace ${nsid} of ${nqn} is attached to ${cntlid}, which is gone`];
    }
    for (const [cntlid, controller] of controllers) {
      const name = `controller ${cntlid} of ${nqn}`;
      if (controller.subsystem !== subsystem || controller.cntlid !== cntlid)
        return ['LIFE.12', `${name} is ${controller.cntlid} of ${controller.subsystem.nqn}`];
      for (const [nsid, { namespace }] of controller.attachments)
        if (namespaces.get(nsid) !== namespace)
          return ['LIFE.6', `${name} has namespace ${nsid}, which was removed`];
      if (controller.ready)
        for (const [nsid, { shared }] of namespaces)
          if (shared && !controller.attachments.has(nsid) && !controller.detached.has(nsid))
            return ['LIFE.3', `${name} is enabled and has not attached namespace ${nsid}`];
      for (const [qid, queue] of controller.ioQueues)
        if (queue.qid !== qid || !queues.has(queue))
          return ['LIFE.12', `${name} has a queue ${qid} of no connection`];
    }
  }
  return undefined;
}
