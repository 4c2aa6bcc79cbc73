/** The rows of the list: pages that follow each other, what is new above them, and what was said in them. */
import { keepPreviousData, useInfiniteQuery, useQueryClient, type InfiniteData } from "@tanstack/react-query";
import { useCallback, useEffect, useMemo, useReducer } from "react";
import { get } from "../../lib/api.ts";
import type { Params } from "../../lib/path.ts";

/** One request, as far as the list shows it. */
export interface RequestRow {
  seq: number;
  id: string;
  /** Unix ms. */
  started_at: number;
  key: string | null;
  user: string | null;
  session: string | null;
  trace_id: string | null;
  environment: string | null;
  tags: Record<string, unknown> | null;
  upstream: string;
  wire: string;
  endpoint: string;
  method: string;
  path: string;
  model_requested: string | null;
  model: string | null;
  streaming: boolean;
  status: number | null;
  outcome: string;
  error_code: string | null;
  error_message: string | null;
  ttft_ms: number | null;
  duration_ms: number | null;
  overhead_ms: number | null;
  input_tokens: number | null;
  cached_input_tokens: number | null;
  output_tokens: number | null;
  reasoning_tokens: number | null;
  cost_nano_usd: number | null;
  is_unpriced: boolean;
  finish_reason: string | null;
  prompt_name: string | null;
  prompt_version: string | null;
  attempt: number;
}

export interface Preview {
  role: string | null;
  message: string | null;
  answer: string | null;
  is_call: boolean;
  request_missing: string;
  response_missing: string;
}

interface PageAnswer {
  requests: RequestRow[];
  next_before: string | null;
  searched_to: number | null;
  /** How far recording was: what came since is told by the stream. */
  newest: number;
}

interface Timed extends PageAnswer {
  /** What the question took, from here. */
  ms: number;
}

export const PAGE_ROWS = 100;
const MOST_PREVIEWS = 6_000;
const PREVIEWS_AT_ONCE = 100;

/** Ask for the list page by page; what was loaded stays as it is until it is asked for anew. */
export function useRequests(params: Params) {
  const client = useQueryClient();
  const key = useMemo(() => ["/api/requests", "pages", params] as const, [params]);
  const answer = useInfiniteQuery({
    queryKey: key,
    queryFn: async ({ pageParam, signal }): Promise<Timed> => {
      const started = performance.now();
      const page = await get<PageAnswer>("/api/requests", { ...params, limit: PAGE_ROWS, before: pageParam }, signal);
      return { ...page, ms: performance.now() - started };
    },
    initialPageParam: "",
    getNextPageParam: (last: Timed) => last.next_before ?? undefined,
    placeholderData: keepPreviousData,
    staleTime: Number.POSITIVE_INFINITY,
    refetchOnWindowFocus: false,
  });
  const { refetch } = answer;
  /** Begin again with the first page. */
  const restart = useCallback(async () => {
    client.setQueryData<InfiniteData<Timed>>(key, (old) => old && { pages: old.pages.slice(0, 1), pageParams: old.pageParams.slice(0, 1) });
    await refetch();
  }, [client, key, refetch]);
  return { ...answer, restart };
}

/** Put new rows above those of the list, each once and in the order of time. */
export function merged(fresh: readonly RequestRow[], listed: readonly RequestRow[]): readonly RequestRow[] {
  if (!fresh.length) return listed;
  const known = new Set(listed.map((row) => row.seq));
  const added = fresh.filter((row) => !known.has(row.seq));
  return added.length ? [...added, ...listed].toSorted((one, other) => other.started_at - one.started_at || other.seq - one.seq) : listed;
}

const known = new Map<string, Preview>();
const asked = new Set<string>();

/** Ask what was said in rows, once for each; returns what is known of a row. */
export function usePreviews(rows: readonly Pick<RequestRow, "id">[], isWanted: boolean): (id: string) => Preview | undefined {
  const [, changed] = useReducer((times: number) => times + 1, 0);
  useEffect(() => {
    if (!isWanted) return;
    const missing = rows.map((row) => row.id).filter((id) => !known.has(id) && !asked.has(id));
    for (let at = 0; at < missing.length; at += PREVIEWS_AT_ONCE) void ask(missing.slice(at, at + PREVIEWS_AT_ONCE)).then(changed);
  }, [rows, isWanted]);
  return useCallback((id: string) => known.get(id), []);
}

async function ask(ids: readonly string[]): Promise<void> {
  for (const id of ids) asked.add(id);
  try {
    const { previews } = await get<{ previews: Record<string, Preview> }>("/api/requests/previews", { ids });
    if (known.size > MOST_PREVIEWS) known.clear();
    for (const [id, preview] of Object.entries(previews)) known.set(id, preview);
  } catch {
    // Rows are readable without; they are asked for again when the list changes.
  } finally {
    for (const id of ids) asked.delete(id);
  }
}
