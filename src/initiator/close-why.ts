/** Why a connection ends; logged, and told by tests. */
export type CloseWhy =
  | 'not connected'
  | 'no ICResp in time'
  | 'closed by the controller'
  | 'terminated by the controller'
  | 'transport error'
  | 'protocol fault'
  | 'a command was not answered in time'
  | 'association lost'
  | 'reset'
  | 'port unregistered'
  | 'disconnected'
  | 'host stops';
