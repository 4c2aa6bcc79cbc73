/** A page of what requests have in common, such as a session or a user: filtered, sorted and exported alike. */
import { useMemo, type ReactNode } from "react";
import { useLocation } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { TimeRange } from "../../app/TimeRange.tsx";
import { Problem } from "../../lib/api.ts";
import { useListed, type Page } from "../../lib/listed.ts";
import type { Params } from "../../lib/path.ts";
import { text, timeParams, useUrlState } from "../../lib/url.ts";
import { ListExport } from "../../ui/ListExport.tsx";
import { ErrorState, SkeletonRows, Unread } from "../../ui/States.tsx";
import { Table, type Column } from "../../ui/Table.tsx";
import { Time } from "../../ui/Time.tsx";
import { usePhone } from "../../ui/usePhone.ts";
import { useRowKeys } from "../../ui/useRowKeys.ts";
import { NotUnderstood } from "./Empty.tsx";
import { FilterBar } from "./FilterBar.tsx";
import "./requests.css";

export interface GroupedPage extends Page {
  count: number | null;
  searched_to: number | null;
}

type Schema = ReturnType<typeof groupedSchema>;

/** The parameters of such a page: from when on, and what comes first, unless the address says otherwise. */
export function groupedSchema(from: string, sort: string) {
  return { ...timeParams(from), q: text(""), sort: text(sort), sel: text("", "replace") } as const;
}

/** What such a page asks for and what came. */
export function useGrouped<P extends GroupedPage, Row>(path: string, schema: Schema, rowsOf: (page: P) => readonly Row[]) {
  const [state, set] = useUrlState(schema);
  const { q, from, to, sort } = state;
  const span = useMemo<Params>(() => ({ from, to: to === "now" ? "" : to }), [from, to]);
  const params = useMemo<Params>(() => ({ q, ...span, sort: schema.sort.write(sort) ?? "" }), [q, span, sort, schema]);
  const list = useListed<P>(path, params);
  const pages = list.data?.pages;
  const rows = useMemo(() => pages?.flatMap(rowsOf) ?? [], [pages, rowsOf]);
  return { path, state, set, span, params, list, rows, first: pages?.[0] };
}

export interface GroupedListProps<P extends GroupedPage, Row> {
  grouped: ReturnType<typeof useGrouped<P, Row>>;
  title: string;
  isFull?: boolean;
  columns: readonly Column<Row>[];
  minWidth: number;
  /** What stands in the one cell of a row on a phone, and how many pixels high that is. */
  card(row: Row): ReactNode;
  cardHeight: number;
  hrefOf(row: Row): string;
  foot: ReactNode;
  /** In place of the table when there is no row. */
  empty: ReactNode;
}

export function GroupedList<P extends GroupedPage, Row extends { id: string }>({ grouped, title, isFull = false, columns, minWidth, card, cardHeight, hrefOf, foot, empty }: GroupedListProps<P, Row>) {
  const { path, state, set, span, params, list, rows, first } = grouped;
  const { from, to, q, sort, sel } = state;
  const [, navigate] = useLocation();
  const isPhone = usePhone();
  const rowKey = (row: Row) => row.id;
  useRowKeys({ rows, rowKey, selected: sel || null, onSelect: (id) => set({ sel: id ?? "" }), onOpen: (row) => navigate(hrefOf(row)) });
  const badFilter = list.error instanceof Problem && list.error.code === "bad_filter" ? list.error : null;
  const isShown = rows.length > 0;
  return (
    <div className={title.toLowerCase()}>
      <PageHead
        title={title}
        isFull={isFull}
        tools={
          <>
            <TimeRange range={{ from, to }} onChange={(range) => set(range)} />
            <ListExport path={path} params={params} />
          </>
        }
      />
      <div className="filter-row">
        <FilterBar q={q} span={span} error={list.error} onChange={(changed) => set({ q: changed })} />
      </div>
      {badFilter && !isShown && <NotUnderstood q={q} problem={badFilter} onFilter={(changed) => set({ q: changed })} />}
      {list.isError && !badFilter && !isShown && <ErrorState error={list.error} what={`${title} could not be read`} onRetry={() => void list.refetch()} />}
      {list.isPending && <SkeletonRows rows={16} />}
      {isShown && (
        <div data-stale={list.isPlaceholderData}>
          <Table
            key={isPhone ? "cards" : "table"}
            label={title}
            columns={isPhone ? [{ id: "card", title, cell: card }] : columns}
            rows={rows}
            rowKey={rowKey}
            total={first?.count ?? rows.length}
            sort={sort}
            onSort={(changed) => set({ sort: changed })}
            selected={sel || null}
            onPress={(row) => navigate(hrefOf(row))}
            onEnd={list.more}
            {...(isPhone ? { rowHeight: cardHeight } : { minWidth })}
            isBusy={list.isFetching}
            foot={foot}
          />
          <Unread list={list} />
        </div>
      )}
      {!isShown && list.isSuccess && !list.isPlaceholderData && empty}
    </div>
  );
}

/** Said below a list that was not read to its end in time. */
export function SearchedTo({ page }: { page: GroupedPage | undefined }) {
  return page?.searched_to == null ? null : <span className="warn">looked at requests since <Time ms={page.searched_to} /> only: narrow the range</span>;
}
