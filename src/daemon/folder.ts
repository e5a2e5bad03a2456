/** Which folder a daemon keeps its state in, and how its control socket is called there. */
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';

/** Of the target daemon, and of the host daemon. */
export const SOCKET_NAME = 'target.sock';
export const HOST_SOCKET_NAME = 'host.sock';

/**
 * What was asked for, else `$NVMETCP_STATE`, else /var/lib/nvmetcp for root, else nvmetcp in `$XDG_STATE_HOME` or
 * ~/.local/state. Absolute.
 */
export function stateFolder(
  wanted: string | undefined,
  variables: Readonly<Record<string, string | undefined>>,
  uid: number | undefined,
): string {
  const named = wanted ?? variables['NVMETCP_STATE'];
  if (named !== undefined && named !== '') return resolve(named);
  if (uid === 0) return '/var/lib/nvmetcp';
  const xdg = variables['XDG_STATE_HOME'];
  // A relative path there is to be ignored, says the XDG Base Directory Specification.
  const base = xdg !== undefined && isAbsolute(xdg) ? xdg : join(homedir(), '.local', 'state');
  return join(base, 'nvmetcp');
}
