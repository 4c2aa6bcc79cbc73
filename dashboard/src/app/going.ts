/** How somebody goes from page to page: what is near the pointer is fetched before it is asked for. */
import { boot } from "../lib/boot.ts";
import { prefetch } from "./pages.tsx";

let poppedAt = -1;

/** Say whether the page that is being shown was reached by Back or Forward. */
export function isGoingBack(): boolean {
  return performance.now() - poppedAt < 500;
}

/** Listen; once, when the page starts. */
export function startGoing(): void {
  addEventListener("popstate", () => (poppedAt = performance.now()));
  for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, near, { passive: true });
}

function near(event: Event): void {
  const link = event.target instanceof Element ? event.target.closest<HTMLAnchorElement>("a[href]") : null;
  if (!link || link.origin !== location.origin || link.target || !link.pathname.startsWith(boot.base)) return;
  prefetch(link.pathname.slice(boot.base.length) || "/");
}
