/** What a part of a page shows when it has nothing to show, and why. */
import type { UseInfiniteQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { boot, clockSkew, type Role } from "../lib/boot.ts";
import { Problem } from "../lib/api.ts";
import { clock } from "../lib/format.ts";
import type { Answer } from "../lib/queries.ts";
import { vars } from "../lib/vars.ts";
import { useZone } from "../lib/zone.ts";
import { Button } from "./Button.tsx";

/** Nothing is there, and what to do about it. */
export function EmptyState({ title, children, action }: { title: string; children?: ReactNode; action?: ReactNode }) {
  return (
    <div className="state">
      <h2>{title}</h2>
      {children && <p>{children}</p>}
      {action && <div className="act">{action}</div>}
    </div>
  );
}

/** What failed, in the server's words, and a way to try again. */
export function ErrorState({ error, what = "This could not be read", onRetry }: { error: unknown; what?: string; onRetry?: () => void }) {
  if (error instanceof Problem && error.status === 403) return <NoPermission>{error.message}</NoPermission>;
  const problem = error instanceof Problem ? error : null;
  const message = error instanceof Error ? error.message : String(error);
  return (
    <div className="problem-box" role="alert">
      <h2>{what}</h2>
      <p className="wire">{message}</p>
      {problem?.asked && <p className="caption mono wire">{problem.status ? `HTTP ${problem.status}, ` : ""}{problem.asked}</p>}
      {onRetry && (
        <div className="act">
          <Button size="small" onClick={onRetry}>Try again</Button>
        </div>
      )}
    </div>
  );
}

/** It is there, and not for this role. */
export function NoPermission({ least, children }: { least?: Role; children?: ReactNode }) {
  return (
    <EmptyState title="Not with your role">
      {children ?? `This needs the role ${least ?? "admin"}, and ${boot.user} has ${boot.role}. An admin can change that under Settings, Users.`}
    </EmptyState>
  );
}

/** There is more than can be shown or read in time. */
export function TooMuch({ children, action }: { children: ReactNode; action?: ReactNode }) {
  return (
    <EmptyState title="Too much to show" action={action}>
      {children}
    </EmptyState>
  );
}

/** Room for what is on its way, in its final size; invisible for the first 100 ms. */
export function Skeleton({ width = "100%", height = "1em" }: { width?: string; height?: string }) {
  return <span className="bone" aria-hidden="true" style={vars({ w: width, h: height })} />;
}

/** Room for rows of a table. */
export function SkeletonRows({ rows = 12 }: { rows?: number }) {
  return (
    <div className="bones" aria-hidden="true">
      {Array.from({ length: rows }, (_, at) => (
        <Skeleton key={at} height="var(--row)" />
      ))}
    </div>
  );
}

/** Show an answer once it is there: room for it before, what failed instead, the old one dimmed meanwhile. */
export function Loaded<T>({ answer, skeleton, what, children }: { answer: Answer<T>; skeleton?: ReactNode; what?: string; children(data: T): ReactNode }) {
  if (answer.data !== undefined && !(answer.isError && answer.isPlaceholderData)) {
    return (
      <div data-stale={answer.isPlaceholderData} aria-busy={answer.isFetching}>
        {answer.isError && <Stale answer={answer} />}
        {children(answer.data)}
      </div>
    );
  }
  if (answer.isError) return <ErrorState error={answer.error} {...(what ? { what } : {})} onRetry={() => void answer.refetch()} />;
  return (
    <div aria-busy="true">
      <span className="sr">Loading</span>
      {skeleton ?? <Skeleton height="120px" />}
    </div>
  );
}

function Stale({ answer }: { answer: Pick<Answer<unknown>, "dataUpdatedAt" | "error"> }) {
  const zone = useZone();
  return <p className="caption warn" role="status">Data from {clock(answer.dataUpdatedAt + clockSkew, zone)}; {answer.error?.message ?? "reconnecting"}</p>;
}

/** Of a list that is shown: that its rest could not be read, with a way to try again, or that it is not of now. */
export function Unread({ list }: { list: Pick<UseInfiniteQueryResult, "isFetchNextPageError" | "isRefetchError" | "error" | "dataUpdatedAt" | "fetchNextPage" | "isFetchingNextPage"> }) {
  if (list.isFetchNextPageError) {
    return (
      <p className="caption warn" role="alert">
        The rest could not be read: {list.error?.message} <Button size="small" disabled={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>Try again</Button>
      </p>
    );
  }
  return list.isRefetchError ? <Stale answer={list} /> : null;
}
