import t, { type Test } from 'tap';
import type { ControllerOptions } from '../../src/initiator/controller.ts';
import { HostWorld } from '../doubles/host-world.ts';

const recovery = { reconnectDelay: 10_000, ctrlLossTmo: 600_000 };
const lose = (world: HostWorld): void => {
  for (const each of world.fake.connections) if (!each.gone) each.transport.reset();
  world.settle();
};
const stop = (t: Test, world: HostWorld): void => {
  let stopped = false;
  world.registry.stop(() => (stopped = true));
  world.advance(1000);
  t.ok(stopped);
  t.strictSame(world.leftovers(), []);
};
const up = (options: Partial<ControllerOptions> = {}) => {
  const world = new HostWorld();
  return { world, ...world.up({ recovery, ...options }) };
};

t.test('a lost controller is connected again after reconnect_delay: same name, same head, same path', (t) => {
  const { world, controller, head } = up();
  const [path] = head.paths;
  lose(world);
  t.equal(controller.state.now, 'connecting');
  t.notOk(controller.usable);
  t.ok(controller.mayReturn);
  t.equal(world.fake.connections.length, 2);
  world.advance(9_999);
  t.equal(world.fake.connections.length, 2);
  world.fake.cntlid = 9;
  world.advance(1);
  t.equal(controller.state.now, 'live');
  t.equal(controller.cntlid, 9, 'CNTLID may change');
  t.ok(controller.usable);
  t.equal(controller.name, 'nvme0');
  t.strictSame(controller.subsystem?.heads, [head]);
  t.equal(head.paths[0], path);
  world.fake.connections.splice(0, 2);
  const read = world.read(head, 0, 1);
  world.settle();
  t.equal(read.status, 0);
  stop(t, world);
  t.end();
});
