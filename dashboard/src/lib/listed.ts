/** A list page by page: what was loaded stays until it is asked for anew. */
import { keepPreviousData, useInfiniteQuery, type UseInfiniteQueryResult } from "@tanstack/react-query";
import { useCallback } from "react";
import { get } from "./api.ts";
import type { Params } from "./path.ts";

/** One page, as all lists answer; the rows stand under the list's own name. */
export interface Page {
  next_before: string | null;
}

const ROWS = 50;

/** Ask for the list at `path`, the next page when `more` is called. */
export function useListed<T extends Page>(path: string, params: Params) {
  const answer = useInfiniteQuery({
    queryKey: [path, "pages", params],
    queryFn: ({ pageParam, signal }) => get<T>(path, { ...params, limit: ROWS, before: pageParam }, signal),
    initialPageParam: "",
    getNextPageParam: (last: T) => last.next_before ?? undefined,
    placeholderData: keepPreviousData,
    staleTime: 15_000,
  });
  return { ...answer, more: useMore(answer) };
}

type Paged = Pick<UseInfiniteQueryResult, "fetchNextPage" | "hasNextPage" | "isFetchingNextPage" | "isFetchNextPageError">;

/** Return what asks for the next page: once at a time, and not again by itself when that failed. */
export function useMore({ fetchNextPage, hasNextPage, isFetchingNextPage, isFetchNextPageError }: Paged): () => void {
  const isReady = hasNextPage && !isFetchingNextPage && !isFetchNextPageError;
  return useCallback(() => {
    if (isReady) void fetchNextPage();
  }, [fetchNextPage, isReady]);
}
