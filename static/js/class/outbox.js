// Keep what a student sends in this browser until the class has it, and send it again after a lost line.
//
// What is sent is stored once: a vote by its question and round, an answer by its number. So nothing is lost, and nothing counts twice.
import { request } from "../lib/fetch.js";
import { read, remove, write } from "../lib/storage.js";

const FIRST_RETRY = 1000; // milliseconds
const LAST_RETRY = 5000; // no longer: when the server is back, so is the class

/** The outbox of one class. `arrived(answer)` gets the class's answer to what was sent, `changed(lost)` whether the line is lost. */
export function outboxOf(code, { arrived, changed }) {
  const KEY = `class-outbox:${code}`;
  const unstored = {}; // what this browser refuses to keep lasts as long as the page
  let sending = false;
  let losses = 0;
  let retry;

  const waiting = () => ({ ...read(KEY), ...unstored });

  /** Send fields to an address; a later message of the same name takes the place of one that waits. */
  function put(name, address, fields) {
    const message = JSON.stringify({ address, fields });
    write(KEY, { ...read(KEY), [name]: message });
    if (read(KEY)[name] !== message) unstored[name] = message;
    return flush();
  }

  function drop(name, message) {
    if (unstored[name] === message) delete unstored[name];
    const { [name]: stored, ...others } = read(KEY);
    if (stored !== message) return; // a later one took its place meanwhile
    if (Object.keys(others).length) write(KEY, others);
    else remove(KEY);
  }

  /** Send all that waits, one after the other. */
  async function flush() {
    if (sending) return;
    sending = true;
    clearTimeout(retry);
    for (let entry = first(); entry; entry = first()) {
      const { address, fields } = JSON.parse(entry[1]);
      const answer = await request(address, { fields });
      if (isLost(answer)) {
        const asked = Number(answer.headers?.get("Retry-After")) * 1000;
        retry = setTimeout(flush, Math.max(asked || 0, Math.min(FIRST_RETRY * 2 ** losses, LAST_RETRY) * (.5 + .5 * Math.random())));
        losses += 1;
        break;
      }
      losses = 0;
      drop(...entry);
      arrived(answer, fields);
    }
    sending = false;
    changed(losses > 0);
  }

  const first = () => Object.entries(waiting())[0];

  return { put, flush, count: () => Object.keys(waiting()).length };
}

/** Whether to send again: no answer came, or one that only asks for patience. What is refused for good is not sent again. */
function isLost({ ok, status }) {
  return !ok && (status === 0 || status === 408 || status === 429 || status >= 500);
}
