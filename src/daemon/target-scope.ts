/** What the methods of a target's control socket have in common: how they find what is meant, and how they change it. */
import { z } from 'zod';
import { refusal } from '../api/answer.ts';
import type { ChangeOptions } from '../api/target-control.ts';
import type { TargetParts } from '../api/target-parts.ts';
import { LAST_NSID, LAST_PORT_ID } from '../config/document.ts';
import { type Edit, meantPort, meantSubsystem } from '../config/edit.ts';
import { type Change, describeChange } from '../config/plan.ts';
import { nqn, whole } from '../config/values.ts';
import type { Controller } from '../target/controller.ts';
import type { Namespace } from '../target/namespace.ts';
import type { Subsystem } from '../target/subsystem.ts';

// ---- params

/** Only needed where there are several. */
export const subsystem = nqn.optional();
/** Its id, or its address. */
export const port = z.union([whole(0, LAST_PORT_ID), z.string()]);
export const hosts = z.array(nqn);
export const force = z.boolean().default(false);
export const aNamespace = { subsystem, nsid: whole(1, LAST_NSID) };

// ---- results

export interface Changed {
  readonly changes: readonly string[];
}

export const linesOf = (plan: readonly Change[]): Changed => ({ changes: plan.map(describeChange) });

export class TargetScope {
  readonly parts: TargetParts;

  constructor(parts: TargetParts) {
    this.parts = parts;
  }

  async change(edit: Edit, options: ChangeOptions = {}): Promise<Changed> {
    return linesOf(await this.parts.control.change((document) => ({ document: edit(document) }), options));
  }

  /** An edit of the subsystem that is meant, which is found when it is the edit's turn. */
  inSubsystem(named: string | undefined, edit: (nqn: string) => Edit): Edit {
    return (document) => edit(meantSubsystem(document, named).nqn)(document);
  }

  onPort(named: string | number, edit: (id: number) => Edit): Edit {
    return (document) => edit(meantPort(document, named).id)(document);
  }

  // ---- what runs

  running(named: string | undefined): Subsystem {
    const { control, target } = this.parts;
    const found = target.subsystems.get(meantSubsystem(control.wanted, named).nqn);
    if (found === undefined) throw refusal('ENOENT', `there is no subsystem ${named ?? ''}`);
    return found;
  }

  namespaceOf(named: string | undefined, id: number): Namespace {
    const owner = this.running(named);
    const found = owner.namespaces.get(id);
    if (found === undefined) throw refusal('ENOENT', `there is no namespace ${id} of ${owner.nqn}`);
    return found;
  }

  controllerOf(owner: Subsystem, cntlid: number): Controller {
    const found = owner.controllers.get(cntlid);
    if (found === undefined) throw refusal('ENOENT', `there is no controller ${cntlid} of ${owner.nqn}`);
    return found;
  }
}
