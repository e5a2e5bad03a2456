/** One controller's way to a namespace. */
import type { Controller } from './controller.ts';
import type { Head } from './head.ts';
import type { NamespaceInfo } from './namespace.ts';
import type { Request } from './request.ts';

export class Path {
  readonly head: Head;
  readonly controller: Controller;
  /** As this controller told it last. */
  info: NamespaceInfo;
  /** Set when the path is taken away; a request that asks again gets nothing. */
  gone = false;

  constructor(head: Head, controller: Controller, info: NamespaceInfo) {
    this.head = head;
    this.controller = controller;
    this.info = info;
  }

  /** `nvme<subsystem>c<controller>n<head>` (NUM.10). */
  get name(): string {
    const { subsystem, instance } = this.head;
    return `nvme${subsystem.instance}c${this.controller.instance}n${instance}`;
  }

  /** Commands can go this way now. */
  get usable(): boolean {
    return !this.gone && this.controller.usable && this.info.blocks === this.head.blocks;
  }

  /** Hands the request to a queue (QUIESCE.1). False: this way is closed, the request was not taken. */
  submit(request: Request): boolean {
    return !this.gone && this.controller.usable && (this.controller.ioQueue()?.submit(request) ?? false);
  }
}
