/**
 * The keyboard: one table of what is bound now, which both acts and is shown by `?`.
 *
 * A part of a page binds its commands while it is there, so what the help says is what the keys do. What is inside
 * something else wins over it: a panel over its page, a page over the frame. Keys without a modifier never act while somebody types, in lists that read letters, or in a dialog, and
 * can be switched off.
 */
import { useEffect, useMemo, useRef, useState, useSyncExternalStore } from "react";
import { settings } from "./settings.ts";

export interface Command {
  /** Such as "j", "?", "Escape", "mod+k" or "g r": one key after the other. Several ways are separated by ", ". */
  keys: string;
  /** What it does, as a line of the help. */
  title: string;
  group: string;
  run(): void;
}

interface Entry {
  readonly command: Command;
  readonly sequences: readonly (readonly string[])[];
  /** Parts are drawn from the outside in: the later one is further in, or newer. */
  readonly order: number;
}

const SEQUENCE_MS = 1_200;
const isApple = typeof navigator !== "undefined" && /Mac|iPhone|iPad/.test(navigator.userAgent);

let orders = 0;

function nextOrder(): number {
  orders += 1;
  return orders;
}

export class Keyboard {
  #entries: Entry[] = [];
  #listeners = new Set<() => void>();
  #table: readonly Command[] = [];
  #typed: string[] = [];
  #typedAt = 0;

  bind(commands: readonly Command[], order = nextOrder()): () => void {
    const entries = commands.map((command): Entry => ({ command, sequences: command.keys.split(", ").map((keys) => keys.split(" ")), order }));
    this.#entries = [...this.#entries, ...entries].toSorted((one, other) => one.order - other.order);
    this.#changed();
    return () => {
      this.#entries = this.#entries.filter((entry) => !entries.includes(entry));
      this.#changed();
    };
  }

  /** What is bound now, without what another binding hides. */
  table = (): readonly Command[] => this.#table;

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Act on a key; returns whether it meant something. */
  press(key: string, isBare: boolean, context: { isTyping: boolean; singleKeys: boolean; now: number }): boolean {
    if (isBare && context.isTyping) return false;
    if (isBare && !context.singleKeys && key !== "Escape" && key !== "Enter") return false;
    if (context.now - this.#typedAt > SEQUENCE_MS) this.#typed = [];
    const typed = [...this.#typed, key];
    const found = this.#find(typed) ?? this.#find([key]);
    if (found) {
      this.#typed = [];
      found.run();
      return true;
    }
    const begins = this.#entries.some((entry) => entry.sequences.some((sequence) => sequence.length > 1 && sequence[0] === key));
    this.#typed = begins ? [key] : [];
    this.#typedAt = context.now;
    return begins;
  }

  #find(typed: readonly string[]): Command | undefined {
    const wanted = typed.join(" ");
    return this.#entries.findLast((entry) => entry.sequences.some((sequence) => sequence.join(" ") === wanted))?.command;
  }

  #changed(): void {
    const taken = new Set<string>();
    const seen: Command[] = [];
    for (const entry of this.#entries.toReversed()) {
      const ways = entry.sequences.map((sequence) => sequence.join(" ")).filter((way) => !taken.has(way));
      for (const way of ways) taken.add(way);
      if (ways.length) seen.unshift({ ...entry.command, keys: ways.join(", ") });
    }
    this.#table = seen;
    for (const listener of this.#listeners) listener();
  }
}

export const keyboard = new Keyboard();

const TYPING = "input:not([type=checkbox],[type=radio],[type=button]), textarea, select, [contenteditable=true], [role=listbox], [role=menu], [role=combobox], [role=textbox]";
const OVERLAID = "[role=dialog], [role=alertdialog]";

/** Say whether a key belongs to what has the focus. `data-keys` lets a panel that is called a dialog hear them. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof Element)) return false;
  if (target.closest(TYPING)) return true;
  const dialog = target.closest(OVERLAID);
  return dialog !== null && !dialog.hasAttribute("data-keys");
}

/** Return a key as the table writes it. */
export function keyOf(event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey">): { key: string; isBare: boolean } {
  const name = event.key;
  const isMod = event.ctrlKey || event.metaKey;
  if (!isMod && !event.altKey) return { key: name, isBare: true };
  const parts = [isMod ? "mod" : "", event.altKey ? "alt" : "", event.shiftKey ? "shift" : "", name.toLowerCase()];
  return { key: parts.filter(Boolean).join("+"), isBare: false };
}

/** Listen; once, when the page starts. */
export function startKeyboard(): void {
  addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    const { key, isBare } = keyOf(event);
    // A button or link keeps Enter and the space bar.
    if ((key === "Enter" || key === " ") && event.target instanceof Element && event.target.closest("a, button, summary, [role=tab], [role=button]")) return;
    const context = { isTyping: isTyping(event.target), singleKeys: settings().singleKeys, now: event.timeStamp };
    if (keyboard.press(key, isBare, context)) event.preventDefault();
  });
}

/** Bind commands while this part of the page is there. `run` may change with every rendering. */
export function useCommands(commands: readonly Command[], isOn = true): void {
  const latest = useRef(commands);
  latest.current = commands;
  // Taken while drawing: effects run from the inside out, and would let the page win over its panel.
  const [order] = useState(nextOrder);
  const key = JSON.stringify(commands.map(({ keys, title, group }) => [keys, title, group]));
  // Bound anew only when what the help would say is another.
  const bound = useMemo(
    () => (JSON.parse(key) as [string, string, string][]).map(([keys, title, group], at) => ({ keys, title, group, run: () => latest.current[at]?.run() })),
    [key],
  );
  useEffect(() => (isOn ? keyboard.bind(bound, order) : undefined), [bound, order, isOn]);
}

/** The table that `?` shows. */
export function useBoundKeys(): readonly Command[] {
  return useSyncExternalStore(keyboard.subscribe, keyboard.table);
}

/** A key as it is printed on a keyboard. */
export function shownKey(key: string): string {
  const names: Record<string, string> = { Escape: "Esc", ArrowUp: "↑", ArrowDown: "↓", ArrowLeft: "←", ArrowRight: "→", " ": "Space" };
  return key
    .split("+")
    .map((part) => (part === "mod" ? (isApple ? "⌘" : "Ctrl") : part === "shift" ? (isApple ? "⇧" : "Shift") : (names[part] ?? (part.length === 1 && part >= "a" && part <= "z" ? part.toUpperCase() : part))))
    .join(isApple ? "" : " ");
}
