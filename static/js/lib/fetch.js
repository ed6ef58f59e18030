// Ask the server for anything but the views that htmx asks for. Nothing throws: without a response the status is 0.

export const LIMIT = 15_000; // milliseconds before an answer counts as lost

/** Fetch an address, by POST where there are `fields`; `as` says how the body is read: "text", "json" or "blob". */
export async function request(address, { fields, as = "text", limit = LIMIT } = {}) {
  const options = fields ? { method: "POST", body: new URLSearchParams(fields) } : {};
  try {
    const answer = await fetch(address, { ...options, signal: AbortSignal.timeout(limit) });
    return { ok: answer.ok, status: answer.status, headers: answer.headers, body: await answer[as]() };
  } catch {
    return { ok: false, status: 0, body: null };
  }
}

/** A page or a piece of one as a document; null for an error, or where no answer came. `also`: errors that are pages, too. */
export async function fetchPage(address, also = []) {
  const { ok, status, body } = await request(address);
  return ok || also.includes(status) ? parsePage(body) : null;
}

export function parsePage(html) {
  return new DOMParser().parseFromString(html, "text/html");
}
