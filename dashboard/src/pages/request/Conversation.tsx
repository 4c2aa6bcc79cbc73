/** What was said: one column, the turn at the end open, what came before it folded. */
import { useInfiniteQuery } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { get } from "../../lib/api.ts";
import { count, duration, plural } from "../../lib/format.ts";
import { Button } from "../../ui/Button.tsx";
import { ErrorState, Loaded, Skeleton } from "../../ui/States.tsx";
import { pathOf, useConversation, type Conversation, type Detail, type Kept, type Message } from "./api.ts";
import { FindBox, useFind } from "./find.tsx";
import { Said, type Look } from "./Message.tsx";
import { Notice } from "./Notice.tsx";
import { spoken } from "./words.ts";

const PAGE = 100;
/** With more messages, those out of sight are not laid out. */
const MANY = 60;

export function ConversationTab({ detail, look, longestGapMs = null }: { detail: Detail; look: Look; longestGapMs?: number | null }) {
  const answer = useConversation(detail.id);
  return (
    <Loaded answer={answer} what="The conversation could not be read" skeleton={<ConversationSkeleton />}>
      {(said) => <Talk key={said.id} detail={detail} said={said} look={look} longestGapMs={longestGapMs} />}
    </Loaded>
  );
}

function Talk({ detail, said, look, longestGapMs }: { detail: Detail; said: Conversation; look: Look; longestGapMs: number | null }) {
  const box = useRef<HTMLDivElement>(null);
  const find = useFind(box);
  const system = said.messages.filter((message) => message.index < said.history.system);
  const open = said.messages.filter((message) => message.index >= said.history.system);
  const folded = said.first - said.history.system;
  const isOpenAll = find.text !== "";
  const shared = { id: detail.id, look, isOpen: isOpenAll };
  return (
    <div ref={box} className={said.total > MANY ? "rq-many" : ""}>
      <div className="rq-tools">
        <FindBox find={find} />
      </div>
      <Missing side="request" kept={said.kept.request} />
      {system.map((message) => <Said key={message.index} message={message} {...shared} isFolded about={systemNotes(detail)} />)}
      {folded > 0 && <Earlier id={detail.id} from={said.history.system} to={said.first} known={said.history.known} shared={shared} />}
      {open.map((message) => <Said key={message.index} message={message} {...shared} />)}
      <div className="rq-divider num">
        <span><b>Response</b>{responseNote(detail)}</span>
        {detail.ttft_ms !== null && <span className="end">{duration(detail.ttft_ms)} to first token</span>}
      </div>
      <Missing side="response" kept={said.kept.response} />
      {said.answers.map(({ message, flags, finish_reason }, at) => (
        <Said key={at} message={message} {...shared} isAnswer flags={flags} about={[...answerNotes(message, finish_reason, said.answers.length > 1 ? at : null), ...(longestGapMs === null || at > 0 ? [] : [`longest gap ${duration(longestGapMs)}`])]} />
      ))}
      {said.answers.length === 0 && said.kept.response.state !== "none" && <p className="rq-none muted">No answer came.</p>}
      {said.problems.length > 0 && <p className="rq-none caption">{`Not all of it could be read: ${said.problems.map((each) => spoken(each).toLowerCase()).join(", ")}. The Request and Response tabs show the bytes.`}</p>}
    </div>
  );
}

function systemNotes(detail: Detail): string[] {
  return [
    detail.cached_input_tokens ? `${count(detail.cached_input_tokens)} tokens of the prompt were cached` : "",
    detail.prompt_name ? `prompt ${detail.prompt_name}${detail.prompt_version ? `, version ${detail.prompt_version}` : ""}` : "",
  ].filter(Boolean);
}

function answerNotes(message: Message, reason: string | null, choice: number | null): string[] {
  return [choice === null ? "" : `choice ${choice + 1}`, message.tokens ? `about ${plural(message.tokens, "token")}` : "", reason && choice !== null ? `finish ${reason}` : ""].filter(Boolean);
}

function responseNote(detail: Detail): string {
  if (detail.output_tokens === null) return "";
  const thinking = detail.reasoning_tokens ? `, ${count(detail.reasoning_tokens)} of them thinking` : "";
  return `  ${plural(detail.output_tokens, "token")}${thinking}`;
}

/** The earlier turns: a line, until somebody wants to see them; then the latest first, page by page. */
function Earlier({ id, from, to, known, shared }: { id: string; from: number; to: number; known: number | null; shared: { id: string; look: Look; isOpen: boolean } }) {
  const [isShown, show] = useState(false);
  const pages = useInfiniteQuery({
    queryKey: ["earlier", id, from, to],
    queryFn: ({ pageParam, signal }) => get<Conversation>(pathOf(id, "/conversation"), { from: Math.max(from, pageParam - PAGE), to: pageParam }, signal),
    initialPageParam: to,
    getNextPageParam: (_, __, last) => (last - PAGE > from ? last - PAGE : undefined),
    enabled: isShown,
  });
  const messages = (pages.data?.pages ?? []).toReversed().flatMap((page) => page.messages);
  const left = to - from - messages.length;
  const isKnown = known !== null && known >= to;
  return (
    <>
      {(left > 0 || !isShown) && (
        <div className="rq-fold">
          <span className="muted">
            {isShown ? `${plural(left, "message")} before these` : plural(left, "earlier message")}
            {isKnown && ", all in the request before"}
          </span>
          <Button size="small" kind="ghost" className="link" disabled={pages.isFetching} onClick={() => (isShown ? void pages.fetchNextPage() : show(true))}>
            {pages.isFetching ? "Reading…" : "Show"}
          </Button>
        </div>
      )}
      {pages.isError && <ErrorState error={pages.error} what="The earlier messages could not be read" onRetry={() => void pages.refetch()} />}
      {messages.map((message) => <Said key={message.index} message={message} {...shared} />)}
      {isShown && messages.length > 0 && left === 0 && (
        <div className="rq-fold">
          <span className="muted">This turn</span>
          <Button size="small" kind="ghost" className="link" onClick={() => show(false)}>Hide earlier messages</Button>
        </div>
      )}
    </>
  );
}

/** Why a body, or a part of it, is not there. */
export function Missing({ side, kept }: { side: "request" | "response"; kept: Kept }) {
  const what = side === "request" ? "request" : "answer";
  if (kept.state === "none") {
    return <Notice>{`The ${what} is not stored (${count(kept.size)} bytes passed): ${kept.reason ?? "it was not kept"}. Everything else about it is.`}</Notice>;
  }
  if (kept.state === "cut") return <Notice>{`Of the ${what} only the beginning and the end are stored; ${count(kept.size)} bytes passed.`}</Notice>;
  return kept.edit ? <Notice>{`What was found in the ${what} by \`record.redact\` has been taken out.`}</Notice> : null;
}

function ConversationSkeleton() {
  return (
    <div className="rq-bones">
      {[1, 3, 2, 4].map((lines) => (
        <div key={lines} className="rq-said">
          <Skeleton width="72px" />
          <Skeleton width="70ch" height={`${lines * 1.6}em`} />
        </div>
      ))}
    </div>
  );
}
