/** Questions to the server as hooks: cached, ended with the page, the old answer kept while the new one is fetched. */
import { keepPreviousData, QueryClient, useQuery, type UseQueryResult } from "@tanstack/react-query";
import { get, Problem } from "./api.ts";
import type { Params } from "./path.ts";

export const client = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      gcTime: 5 * 60_000,
      refetchOnWindowFocus: true,
      networkMode: "always",
      retry: (count, error) => count < 2 && error instanceof Problem && error.isPassing,
      retryDelay: (count) => Math.min(500 * 2 ** count, 4_000),
      placeholderData: keepPreviousData,
    },
    mutations: { networkMode: "always" },
  },
});

export interface ReadOptions {
  /** Ask again every so many ms while the page is visible. */
  every?: number;
  /** false: do not ask yet. */
  enabled?: boolean;
  /** Do not show the answer to an earlier question meanwhile. */
  fresh?: boolean;
}

export type Answer<T> = UseQueryResult<T, Error>;

/** Ask `path` with `params`; the same question is asked once, however many parts of a page want it. */
export function useRead<T>(path: string, params: Params = {}, options: ReadOptions = {}): Answer<T> {
  return useQuery<T, Error>({
    queryKey: [path, params],
    queryFn: ({ signal }) => get<T>(path, params, signal),
    enabled: options.enabled ?? true,
    ...(options.every ? { refetchInterval: options.every } : {}),
    ...(options.fresh ? { placeholderData: undefined } : {}),
  });
}

/** After a change: what was answered under these paths is no longer true. */
export async function forget(...paths: string[]): Promise<void> {
  await client.invalidateQueries({ predicate: ({ queryKey }) => paths.some((path) => String(queryKey[0]).startsWith(path)) });
}
