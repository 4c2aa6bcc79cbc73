/** What a person likes, kept in this browser: theme, density, zone, single keys. */
import { useSyncExternalStore } from "react";
import { boot } from "./boot.ts";
import { isZone } from "./format.ts";

export interface Settings {
  theme: "system" | "light" | "dark";
  density: "compact" | "normal" | "comfortable";
  /** "" is the zone of this browser. */
  zone: string;
  /** Letters alone are shortcuts. */
  singleKeys: boolean;
}

const STANDARD: Settings = { theme: "system", density: "normal", zone: "", singleKeys: true };
const NAME = "glassline.settings";
const listeners = new Set<() => void>();
let current = load();

function load(): Settings {
  try {
    const kept = JSON.parse(localStorage.getItem(NAME) ?? "{}") as Partial<Settings>;
    const known = { ...STANDARD, ...kept };
    return isZone(known.zone) ? known : { ...known, zone: "" };
  } catch {
    return STANDARD;
  }
}

function apply(): void {
  const root = document.documentElement;
  if (current.theme === "system") delete root.dataset.theme;
  else root.dataset.theme = current.theme;
  root.dataset.density = current.density;
}

/** Tell the server the theme, so that the first thing it draws has it; nothing flashes. */
function tell(): void {
  const age = current.theme === "system" ? 0 : 31_536_000;
  document.cookie = `glassline_theme=${current.theme}; path=${boot.base}/; max-age=${age}; samesite=strict`;
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function changed(): void {
  apply();
  for (const listener of listeners) listener();
}

export function settings(): Settings {
  return current;
}

export function setSettings(patch: Partial<Settings>): void {
  current = { ...current, ...patch };
  tell();
  try {
    localStorage.setItem(NAME, JSON.stringify(current));
  } catch {
    // A browser that keeps nothing still shows what was chosen, until it is closed.
  }
  changed();
}

export function useSettings(): Settings {
  return useSyncExternalStore(subscribe, settings);
}

/** Show what was chosen before, also what another tab chooses. */
export function startSettings(): void {
  apply();
  addEventListener("storage", (event) => {
    if (event.key !== NAME) return;
    current = load();
    changed();
  });
}

/** Light, dark, as the system has it, and round again. */
export function nextTheme(): Settings["theme"] {
  const order = ["system", "light", "dark"] as const;
  return order[(order.indexOf(current.theme) + 1) % order.length] ?? "system";
}
