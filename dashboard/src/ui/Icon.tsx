/** Line drawings on a 24-pixel grid; always beside a word or under a label. */

const PATHS = {
  home: "M3 10.5 12 3l9 7.5V20a1 1 0 0 1-1 1h-5v-6H9v6H4a1 1 0 0 1-1-1z",
  list: "M8 6h13M8 12h13M8 18h13M3.5 6h.01M3.5 12h.01M3.5 18h.01",
  chat: "M21 12a8 8 0 0 1-8 8H4l2-3a8 8 0 1 1 15-5z",
  users: "M16 20v-1a4 4 0 0 0-4-4H7a4 4 0 0 0-4 4v1M9.5 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M21 20v-1a4 4 0 0 0-3-3.8M16 4.2a3.5 3.5 0 0 1 0 6.6",
  cost: "M12 3v18M16.5 7.5C16 6 14.4 5 12 5 9.5 5 7.5 6.2 7.5 8.3c0 4.7 9.5 2.3 9.5 7C17 17.6 14.8 19 12 19c-2.7 0-4.500-1.2-5-3",
  gauge: "M4 18a9 9 0 1 1 16 0M12 14l4-5",
  play: "M7 4.5v15l12-7.5z",
  key: "m15.5 7.5 2.3 2.3a1 1 0 0 0 1.4 0l2.1-2.1a1 1 0 0 0 0-1.4L19 4M21 2l-9.6 9.6M7.5 21a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11",
  gear: "M12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6M19 12l2-1-2-4-2 .5a7 7 0 0 0-2-1.2L14.500 4h-5L9 6.3a7 7 0 0 0-2 1.2L5 7l-2 4 2 1-2 1 2 4 2-.5a7 7 0 0 0 2 1.2l.5 2.3h5l.5-2.3a7 7 0 0 0 2-1.2l2 .5 2-4z",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14M20 20l-4-4",
  check: "m5 12.5 4.5 4.5L19 7.500",
  bang: "M12 5v9M12 19h.01",
  cross: "M6 6l12 12M18 6 6 18",
  dash: "M5 12h14",
  warning: "M12 4 2.5 20h19zM12 10v4M12 17h.01",
  ring: "M20 12a8 8 0 1 1-8-8",
  down: "m6 9 6 6 6-6",
  right: "m9 6 6 6-6 6",
  left: "m15 6-6 6 6 6",
  up: "m6 15 6-6 6 6",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  external: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  menu: "M4 7h16M4 12h16M4 17h16",
  refresh: "M20 11a8 8 0 1 0-2 6M20 5v6h-6",
  plus: "M12 5v14M5 12h14",
  pause: "M8 5v14M16 5v14",
  filter: "M4 5h16l-6 8v6l-4-2v-4z",
  columns: "M4 5h16v14H4zM10 5v14M15 5v14",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  clock: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M12 7v5l3 2",
  bookmark: "M7 4h10v16l-5-4-5 4z",
  lock: "M6 11h12v9H6zM8.500 11V8a3.500 3.500 0 0 1 7 0v3",
  good: "M7 11v9H4v-9zM7 11l4.5-7a2.5 2.5 0 0 1 2.5 2.900L13.5 10H19a1.8 1.8 0 0 1 1.8 2.100l-1.1 6.300A2 2 0 0 1 17.7 20H7",
  bad: "M7 13V4H4v9zM7 13l4.5 7a2.5 2.5 0 0 0 2.5-2.900L13.5 14H19a1.8 1.8 0 0 0 1.8-2.100l-1.1-6.300A2 2 0 0 0 17.7 4H7",
  edit: "M12 20h9M16.500 3.500a2 2 0 0 1 3 3L7 19l-4 1 1-4z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, className = "" }: { name: IconName; className?: string }) {
  return (
    <svg className={`icon ${className}`} viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
