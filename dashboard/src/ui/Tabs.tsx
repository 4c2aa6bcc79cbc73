import { useEffect, useRef, type KeyboardEvent, type ReactNode } from "react";
import { useCommands } from "../lib/keys.ts";

export interface Tab<Name extends string> {
  name: Name;
  title: string;
  /** Beside the title, such as how many there are. */
  note?: ReactNode;
}

/** A row of tabs over one panel; the panel is the caller's, wrapped in `TabPanel`. [ and ] go along the row. */
export function Tabs<Name extends string>({ label, tabs, selected, onSelect, end, hasKeys = true }: { label: string; tabs: readonly Tab<Name>[]; selected: Name; onSelect(name: Name): void; end?: ReactNode; hasKeys?: boolean }) {
  const row = useRef<HTMLDivElement>(null);
  const at = Math.max(0, tabs.findIndex((tab) => tab.name === selected));
  const go = (to: number, focus: boolean) => {
    const tab = tabs[(to + tabs.length) % tabs.length];
    if (!tab) return;
    onSelect(tab.name);
    if (focus) row.current?.querySelector<HTMLElement>(`[data-tab="${tab.name}"]`)?.focus();
  };
  useEffect(() => {
    // On a phone the row scrolls: what is selected is in view, whoever selected it.
    const tab = row.current?.querySelector<HTMLElement>(`[data-tab="${selected}"]`);
    if (!row.current || !tab) return;
    const room = row.current.getBoundingClientRect();
    const place = tab.getBoundingClientRect();
    if (place.right > room.right) row.current.scrollLeft += place.right - room.right + 16;
    else if (place.left < room.left) row.current.scrollLeft -= room.left - place.left + 16;
  }, [selected]);
  useCommands(
    [
      { keys: "[", title: "Previous tab", group: "Tabs", run: () => go(at - 1, false) },
      { keys: "]", title: "Next tab", group: "Tabs", run: () => go(at + 1, false) },
    ],
    hasKeys,
  );
  const onKeyDown = (event: KeyboardEvent) => {
    const target = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (target === undefined) return;
    event.preventDefault();
    go(target, true);
  };
  return (
    <div className="tabs" ref={row}>
      <div role="tablist" aria-label={label} onKeyDown={onKeyDown} className="tab-row">
        {tabs.map((tab) => (
          <button
            key={tab.name}
            type="button"
            role="tab"
            id={`tab-${tab.name}`}
            data-tab={tab.name}
            aria-selected={tab.name === selected}
            aria-controls={`panel-${tab.name}`}
            tabIndex={tab.name === selected ? 0 : -1}
            onClick={() => onSelect(tab.name)}
          >
            {tab.title}
            {tab.note !== undefined && <em>{tab.note}</em>}
          </button>
        ))}
      </div>
      {end && <div className="end">{end}</div>}
    </div>
  );
}

/** What a tab shows. */
export function TabPanel({ name, children, className }: { name: string; children: ReactNode; className?: string }) {
  return (
    <div role="tabpanel" id={`panel-${name}`} aria-labelledby={`tab-${name}`} tabIndex={-1} className={className}>
      {children}
    </div>
  );
}
