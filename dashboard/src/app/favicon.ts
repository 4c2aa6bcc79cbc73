import { useEffect } from "react";

/** The colour of the tab's sign says the verdict. */
const COLOURS = { ok: "%2316171a", degraded: "%23b87400", failing: "%23c0281f" } as const;

export function useFavicon(level: keyof typeof COLOURS): void {
  useEffect(() => {
    const link = document.querySelector<HTMLLinkElement>("link[rel=icon]");
    if (link) link.href = `data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 20 20'><rect width='20' height='20' rx='6' fill='${COLOURS[level]}'/><circle cx='10' cy='10' r='4' fill='none' stroke='white' stroke-width='2'/></svg>`;
  }, [level]);
}
