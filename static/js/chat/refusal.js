// What a server said no to: `reason` of core/errors.py, the server's own words, when to come again.
import { text } from "../texts.js";

export class Refusal extends Error {
  constructor(reason, message, { retryAfter = 0, quota = null, status = 0 } = {}) {
    super(message);
    this.reason = reason;
    this.retryAfter = retryAfter;
    this.quota = quota;
    this.status = status;
  }
}

// In plain words, where nothing better is known: the server's own, or that it cannot be reached.
export const plainly = ({ reason, message }) => message || text(reason === "offline" ? "offline" : "failed");

export async function refusalOf(response) {
  const body = await response.json().catch(() => null);
  const error = body?.error;
  const retryAfter = Number(response.headers.get("retry-after")) || 0;
  const reason = error?.reason ?? (response.status >= 500 ? "unavailable" : "");
  const message = typeof error === "string" ? error : error?.message ?? "";
  return new Refusal(reason, message, { retryAfter, quota: body?.quota ?? error?.quota ?? null, status: response.status });
}
