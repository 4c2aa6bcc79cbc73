/**
 * A table of many rows: a real `<table>` of which only the rows in view are in the page.
 *
 * It scrolls inside its own box when it is given a height, else with the window. The header stays, columns can be made
 * wider, the first column stays on small screens, and screen readers are told how many rows there are and which these are.
 */
import { useVirtualizer, useWindowVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useLayoutEffect, useRef, useState, type KeyboardEvent, type MouseEvent, type PointerEvent, type ReactNode } from "react";
import { useSettings } from "../lib/settings.ts";
import { vars } from "../lib/vars.ts";
import { Icon } from "./Icon.tsx";

export interface Column<Row> {
  id: string;
  title: ReactNode;
  cell(row: Row): ReactNode;
  /** Pixels; the last column without one takes what is left. */
  width?: number;
  align?: "left" | "right";
  /** The word of `sort=`; with it the header sorts. */
  sort?: string;
  className?: string;
}

export interface TableProps<Row> {
  label: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  rowKey(row: Row): string;
  /** How many there are in all, when more are known than are here. */
  total?: number;
  /** As in the address: "cost" or "-cost". */
  sort?: string;
  onSort?(sort: string): void;
  selected?: string | null;
  marked?: ReadonlySet<string>;
  onPress?(row: Row, event: MouseEvent): void;
  rowClass?(row: Row): string;
  widths?: Readonly<Record<string, number>>;
  onWidth?(column: string, width: number): void;
  /** The last rows have come into view. */
  onEnd?(): void;
  /** Height of the box, as CSS; without one the window scrolls. */
  height?: string;
  /** Height of a row in pixels, when it is not that of all tables. */
  rowHeight?: number;
  minWidth?: number;
  foot?: ReactNode;
  isBusy?: boolean;
}

const OVERSCAN = 12;
const NARROWEST = 48;

/** The row height that the style sheet has at the moment. */
function rowHeightNow(): number {
  return Number.parseInt(getComputedStyle(document.documentElement).getPropertyValue("--row"), 10) || 32;
}

export function Table<Row>(props: TableProps<Row>) {
  // Anew with another height of rows: every place is another.
  const { density } = useSettings();
  return props.height ? <BoxTable key={density} {...props} /> : <WindowTable key={density} {...props} />;
}

function BoxTable<Row>(props: TableProps<Row>) {
  const box = useRef<HTMLDivElement>(null);
  const [rowHeight] = useState(() => props.rowHeight ?? rowHeightNow());
  const virtual = useVirtualizer({ count: props.rows.length, getScrollElement: () => box.current, estimateSize: () => rowHeight, overscan: OVERSCAN });
  return <Rows {...props} box={box} rowHeight={rowHeight} items={virtual.getVirtualItems()} whole={virtual.getTotalSize()} offset={0} scrollTo={(at) => virtual.scrollToIndex(at)} />;
}

function WindowTable<Row>(props: TableProps<Row>) {
  const box = useRef<HTMLDivElement>(null);
  const [rowHeight] = useState(() => props.rowHeight ?? rowHeightNow());
  const [offset, setOffset] = useState(0);
  useLayoutEffect(() => {
    const top = (box.current?.getBoundingClientRect().top ?? 0) + scrollY;
    if (Math.abs(top - offset) > 1) setOffset(top);
  });
  const virtual = useWindowVirtualizer({ count: props.rows.length, estimateSize: () => rowHeight, overscan: OVERSCAN, scrollMargin: offset });
  return <Rows {...props} box={box} rowHeight={rowHeight} items={virtual.getVirtualItems()} whole={virtual.getTotalSize()} offset={offset} scrollTo={(at) => virtual.scrollToIndex(at)} />;
}

interface RowsProps<Row> extends TableProps<Row> {
  box: { current: HTMLDivElement | null };
  items: readonly { index: number; start: number; end: number }[];
  whole: number;
  offset: number;
  scrollTo(index: number): void;
  rowHeight: number;
}

function Rows<Row>({ label, columns, rows, rowKey, total, sort, onSort, selected, marked, onPress, rowClass, widths, onWidth, onEnd, height, minWidth, foot, isBusy, box, items, whole, offset, scrollTo, rowHeight }: RowsProps<Row>) {
  const first = items[0];
  const last = items.at(-1);
  const before = first ? first.start - offset : 0;
  const after = last ? whole - (last.end - offset) : 0;

  const lastIndex = last?.index ?? -1;
  useEffect(() => {
    if (rows.length && lastIndex >= rows.length - OVERSCAN) onEnd?.();
  }, [lastIndex, rows.length, onEnd]);

  const selectedAt = selected ? rows.findIndex((row) => rowKey(row) === selected) : -1;
  useEffect(() => {
    if (selectedAt >= 0 && !isInView(box.current, selectedAt, rowHeight, height !== undefined)) scrollTo(selectedAt);
    // Only when the selection moves: new rows above must not scroll the page.
  }, [selected]);

  return (
    <div className="tbl-frame card" aria-busy={isBusy}>
      <div className={`tbl${height ? " tbl-box" : ""}`} ref={box} tabIndex={height ? 0 : undefined} role={height ? "group" : undefined} aria-label={height ? label : undefined} style={vars({ "tbl-height": height, "tbl-min": minWidth ? `${minWidth}px` : undefined, "row-height": `${rowHeight}px` })}>
        <table aria-label={label} aria-rowcount={(total ?? rows.length) + 1}>
          <colgroup>
            {columns.map((column) => {
              const width = widths?.[column.id] ?? column.width;
              return <col key={column.id} style={vars({ w: width ? `${width}px` : "auto" })} />;
            })}
          </colgroup>
          <thead>
            <tr aria-rowindex={1}>
              {columns.map((column) => (
                <Head key={column.id} column={column} {...(sort !== undefined ? { sort } : {})} {...(onSort ? { onSort } : {})} {...(onWidth ? { onWidth } : {})} width={widths?.[column.id] ?? column.width} />
              ))}
            </tr>
          </thead>
          <tbody>
            {before > 0 && <tr aria-hidden="true" className="tbl-room" style={vars({ h: `${before}px` })} />}
            {items.map((item) => {
              const row = rows[item.index];
              if (row === undefined) return null;
              const key = rowKey(row);
              const isSelected = key === selected;
              return (
                <tr
                  key={key}
                  aria-rowindex={item.index + 2}
                  aria-selected={selected === undefined ? undefined : isSelected}
                  className={[isSelected ? "sel" : "", marked?.has(key) ? "marked" : "", onPress ? "pressable" : "", rowClass?.(row) ?? ""].filter(Boolean).join(" ")}
                  onClick={onPress && ((event) => !isControl(event) && onPress(row, event))}
                >
                  {columns.map((column) => (
                    <td key={column.id} className={[column.align === "right" ? "r" : "", column.className ?? ""].filter(Boolean).join(" ")}>{column.cell(row)}</td>
                  ))}
                </tr>
              );
            })}
            {after > 0 && <tr aria-hidden="true" className="tbl-room" style={vars({ h: `${after}px` })} />}
          </tbody>
        </table>
      </div>
      {foot && <div className="tbl-foot">{foot}</div>}
    </div>
  );
}

/** What a press on a row must leave to what is in it. */
function isControl(event: MouseEvent): boolean {
  const isSelecting = (getSelection()?.toString().length ?? 0) > 0 && !event.shiftKey;
  return isSelecting || (event.target instanceof Element && event.target.closest("a, button, input, label") !== null);
}

function isInView(box: HTMLElement | null, at: number, rowHeight: number, isBox: boolean): boolean {
  if (!box) return true;
  const top = at * rowHeight - (isBox ? box.scrollTop : -box.getBoundingClientRect().top - rowHeight);
  return top >= (isBox ? 0 : 90) && top + 2 * rowHeight <= (isBox ? box.clientHeight : innerHeight);
}

function Head<Row>({ column, sort, onSort, width, onWidth }: { column: Column<Row>; width: number | undefined; sort?: string; onSort?(sort: string): void; onWidth?(column: string, width: number): void }) {
  const direction = column.sort && sort === column.sort ? "ascending" : column.sort && sort === `-${column.sort}` ? "descending" : undefined;
  const isSortable = column.sort !== undefined && onSort !== undefined;
  const press = () => column.sort && onSort?.(direction === "descending" ? column.sort : `-${column.sort}`);
  return (
    <th scope="col" className={column.align === "right" ? "r" : ""} aria-sort={isSortable ? (direction ?? "none") : undefined}>
      {isSortable ? (
        <button type="button" onClick={press}>
          {column.title}
          {direction && <Icon name={direction === "ascending" ? "up" : "down"} />}
        </button>
      ) : (
        column.title
      )}
      {onWidth && <Grip column={column.id} width={width ?? 0} onWidth={onWidth} />}
    </th>
  );
}

/** The right edge of a header: dragged, or moved with the arrow keys. */
function Grip({ column, width, onWidth }: { column: string; width: number; onWidth(column: string, width: number): void }) {
  const start = useRef<{ x: number; width: number } | null>(null);
  const widthOf = (element: Element) => element.closest("th")?.getBoundingClientRect().width ?? 100;
  const onPointerDown = (event: PointerEvent<HTMLElement>) => {
    event.currentTarget.setPointerCapture(event.pointerId);
    start.current = { x: event.clientX, width: widthOf(event.currentTarget) };
  };
  const onPointerMove = (event: PointerEvent) => {
    if (start.current) onWidth(column, Math.max(NARROWEST, Math.round(start.current.width + event.clientX - start.current.x)));
  };
  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    const step = { ArrowLeft: -16, ArrowRight: 16 }[event.key];
    if (!step) return;
    event.preventDefault();
    onWidth(column, Math.max(NARROWEST, Math.round(widthOf(event.currentTarget) + step)));
  };
  return (
    <span
      className="grip"
      role="separator"
      aria-orientation="vertical"
      aria-valuemin={NARROWEST}
      aria-valuenow={width ?? NARROWEST}
      aria-valuetext={width ? `${width} pixels` : "as wide as there is room"}
      aria-label={`Width of column ${column}`}
      tabIndex={0}
      onPointerDown={onPointerDown}
      onPointerMove={onPointerMove}
      onPointerUp={() => (start.current = null)}
      onKeyDown={onKeyDown}
    />
  );
}
