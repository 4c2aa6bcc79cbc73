import { useCommands } from "../lib/keys.ts";

export interface RowKeys<Row> {
  rows: readonly Row[];
  rowKey(row: Row): string;
  selected: string | null;
  onSelect(key: string | null): void;
  onOpen?(row: Row): void;
  onMark?(row: Row): void;
}

/** The keys of a list: J and K go along it, Enter opens, X marks, Esc lets go. */
export function useRowKeys<Row>({ rows, rowKey, selected, onSelect, onOpen, onMark }: RowKeys<Row>): void {
  const at = selected === null ? -1 : rows.findIndex((row) => rowKey(row) === selected);
  const row = rows[at];
  const go = (to: number) => {
    const next = rows[Math.max(0, Math.min(rows.length - 1, to))];
    if (next !== undefined) onSelect(rowKey(next));
  };
  useCommands([
    { keys: "j, ArrowDown", title: "Next row", group: "List", run: () => go(at + 1) },
    { keys: "k, ArrowUp", title: "Previous row", group: "List", run: () => go(at < 0 ? 0 : at - 1) },
    ...(onOpen ? [{ keys: "Enter", title: "Open the row", group: "List", run: () => row !== undefined && onOpen(row) }] : []),
    ...(onMark ? [{ keys: "x", title: "Mark the row", group: "List", run: () => row !== undefined && onMark(row) }] : []),
    { keys: "Escape", title: "Let go of the row", group: "List", run: () => onSelect(null) },
  ]);
}
