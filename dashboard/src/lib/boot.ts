/** What the server said when it rendered the page: who looks, where we are mounted, which version this is. */

export type Role = "viewer" | "editor" | "admin";

export interface Boot {
  user: string;
  role: Role;
  /** `open`: nobody is asked who they are. */
  by: "open" | "local" | "user" | "token" | "session";
  /** Path under which everything is mounted: "" or "/glassline". */
  base: string;
  version: string;
  /** The server's clock, Unix ms. */
  now: number;
  /** What the form for logging out sends back; "": there is no session. */
  form: string;
  /** Where the traffic goes, such as http://localhost:8080. */
  gateway: string;
  /** Whether a caller's own credential is passed on, or only keys of ours are taken. */
  auth: "passthrough" | "virtual";
  level: "ok" | "degraded" | "failing";
}

const RANKS: Record<Role, number> = { viewer: 0, editor: 1, admin: 2 };
const ALONE: Boot = {
  user: "anyone", role: "admin", by: "open", base: "", version: "0", now: 0, form: "", gateway: "", auth: "passthrough", level: "ok",
};

function read(): Boot {
  const text = typeof document === "undefined" ? null : document.getElementById("boot")?.textContent;
  return text ? { ...ALONE, ...(JSON.parse(text) as Partial<Boot>) } : ALONE;
}

export const boot: Boot = read();

/** Say whether who looks may do what asks for `least`: what they may not do is not offered. */
export function may(least: Role): boolean {
  return RANKS[boot.role] >= RANKS[least];
}

/** How far the server's clock is ahead of this browser's, ms. */
export const clockSkew = boot.now ? boot.now - Date.now() : 0;

/** Return the server's time, so that "5 min ago" is true on a laptop whose clock is not. */
export function serverNow(): number {
  return Date.now() + clockSkew;
}
