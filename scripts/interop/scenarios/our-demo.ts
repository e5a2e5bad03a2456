/** Our host → the kernel's target: the demonstration (`npm run demo -- --linux`), without its picture. */
import { LinuxStage } from '../../demo/linux-stage.ts';
import { Play } from '../../demo/play.ts';
import { TO_LINUX, type Scenario } from '../scenario.ts';

export const OUR_DEMO: Scenario = {
  name: 'host-demo',
  shows:
    'two paths under verified I/O: one is cut and returns, ANA states change, controllers, namespace and ports go and return; no I/O error',
  direction: TO_LINUX,
  full: true,
  seconds: 300,
  async run(context) {
    const play = new Play(await LinuxStage.open(context), 0.5);
    const end = await play.run(({ title }, operations) => context.note(`${title}: ${operations} I/Os`));
    context.note(`${end.operations} I/Os, ${end.verified} blocks verified`);
  },
};
