/** A list page by page: what was loaded stays until it is asked for anew. */
import { keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
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
  const { fetchNextPage, hasNextPage, isFetchingNextPage } = answer;
  const more = useCallback(() => {
    if (hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [fetchNextPage, hasNextPage, isFetchingNextPage]);
  return { ...answer, more };
}
