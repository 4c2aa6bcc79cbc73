/** Short messages at the corner: what was done, what failed. They wait while they are looked at. */
import { useEffect, useState, useSyncExternalStore, type ReactNode } from "react";
import { Icon } from "./Icon.tsx";
import { StatusPill } from "./Status.tsx";

interface Message {
  id: number;
  text: ReactNode;
  isBad: boolean;
}

let messages: readonly Message[] = [];
let next = 1;
const listeners = new Set<() => void>();

function set(changed: readonly Message[]): void {
  messages = changed;
  for (const listener of listeners) listener();
}

export function toast(text: ReactNode, isBad = false): void {
  set([...messages, { id: next++, text, isBad }].slice(-4));
}

/** Show what a change that failed was told. */
export function toastError(error: unknown): void {
  toast(error instanceof Error ? error.message : String(error), true);
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => messages,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map((message) => (
        <Toast key={message.id} message={message} />
      ))}
    </div>
  );
}

function Toast({ message }: { message: Message }) {
  const [isHeld, hold] = useState(false);
  const close = () => set(messages.filter((each) => each.id !== message.id));
  useEffect(() => {
    if (isHeld) return undefined;
    const timer = setTimeout(close, message.isBad ? 12_000 : 5_000);
    return () => clearTimeout(timer);
  });
  return (
    <div className="toast" onPointerEnter={() => hold(true)} onPointerLeave={() => hold(false)}>
      {message.isBad && <StatusPill level="bad">Failed</StatusPill>}
      <span className="wire">{message.text}</span>
      <button type="button" aria-label="Close" onClick={close}><Icon name="cross" /></button>
    </div>
  );
}
