// An order to a relay: sent once, and asked for until it has an end.
import { ask, send, serverTime } from "./live.js";

export const SEND_MS = 5000; // an order that still waits for a connection then is never sent
const ANSWER_S = 10;

function key() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((octet) => octet.toString(16).padStart(2, "0")).join("");
}

/**
 * What the server says of an order for a meter: `command`, or, when none was made of it, `problem` with its `detail`;
 * `wait` are the seconds after which another one may be given. It throws when nobody knows what became of it.
 */
export async function order(meter, position) {
  const body = JSON.stringify({ position, expires_at: serverTime(2 * SEND_MS) });
  const response = await send(`meters/${meter}/relay`, body, { "Idempotency-Key": key() }, SEND_MS);
  const answer = await response.json(), command = answer.command ?? answer;
  if (command.command_id) return { command };
  if (response.status >= 500) throw new Error(answer.detail);
  return { problem: answer, wait: Number(response.headers.get("retry-after") ?? 0) };
}

/** The command as it is now; `wait`: or when it has ended. Undefined when it cannot be had. */
export async function follow(command_id, wait = ANSWER_S) {
  const answer = await ask(`/api/v1/commands/${command_id}?wait=${wait}`, {}, 2000 * ANSWER_S);
  return answer.ok ? answer.json() : undefined;
}

const WORDS = {
  sent: "Sent, waiting for the meter …",
  answered: "The meter says done, waiting for its relay …",
  done: "Done.",
  refused: "Refused", expired: "Came too late", failed: "Failed", "timed out": "No answer",
};

/** What a command's state is called, and its class; `lost` is the reason of one of which nobody knows. */
export function stateOf(command, lost) {
  if (command.reason === lost) return ["Not known", "failed"];
  return [WORDS[command.state] ?? command.state, command.state.replace(" ", "-")];
}

export const what = (position) => (position === "open" ? "Switch off" : "Switch on");
