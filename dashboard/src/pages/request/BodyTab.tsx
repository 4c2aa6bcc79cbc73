/** A body as a tree, or as the text that it is. */
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { getResponse } from "../../lib/api.ts";
import { bytes, count } from "../../lib/format.ts";
import { address } from "../../lib/path.ts";
import { CopyButton } from "../../ui/CopyButton.tsx";
import { Segments } from "../../ui/Fields.tsx";
import { JsonTree } from "../../ui/JsonTree.tsx";
import { EmptyState, ErrorState, SkeletonRows } from "../../ui/States.tsx";
import { pathOf, type Detail } from "./api.ts";
import { Missing } from "./Conversation.tsx";
import { eventsAsJson } from "./events.ts";

export type Side = "request" | "response";
const LOOKS = [["tree", "Tree"], ["text", "Text"]] as const;
export type BodyLook = (typeof LOOKS)[number][0];
const LONGEST = 300_000;

export function BodyTab({ detail, side, look, onLook }: { detail: Detail; side: Side; look: BodyLook; onLook(look: BodyLook): void }) {
  const kept = detail.kept[side];
  const answer = useQuery({
    queryKey: ["text", detail.id, side],
    queryFn: async ({ signal }) => (await getResponse(pathOf(detail.id, `/text/${side}`), {}, signal)).text(),
    enabled: kept.state !== "none",
    staleTime: Number.POSITIVE_INFINITY,
  });
  const text = answer.data;
  const tree = useMemo(() => (text === undefined ? null : (eventsAsJson(text) ?? (/^\s*[[{"]/.test(text) ? text : null))), [text]);
  const shown = tree === null ? "text" : look;
  return (
    <div>
      <div className="rq-tools">
        <span className="muted num">{`${bytes(kept.size)}${detail[side].sha256 ? `, SHA-256 ${detail[side].sha256.slice(0, 12)}…` : ""}`}</span>
        <span className="end">
          {tree !== null && <Segments label="Show as" options={LOOKS} value={look} onChange={onLook} />}
          {text !== undefined && <CopyButton text={text} />}
          {kept.state === "whole" && kept.size > 0 && <a className="btn small" href={address(pathOf(detail.id, `/${side}_body`))} download>Download</a>}
        </span>
      </div>
      <Missing side={side} kept={kept} />
      {answer.isError && <div className="rq-pad"><ErrorState error={answer.error} what="The body could not be read" onRetry={() => void answer.refetch()} /></div>}
      {kept.state !== "none" && answer.isPending && <div className="rq-pad"><SkeletonRows rows={10} /></div>}
      {text === "" && <EmptyState title="Empty">{side === "request" ? "The request has no body." : "No byte of an answer came."}</EmptyState>}
      {text !== undefined && text !== "" && shown === "tree" && tree !== null && (
        <div className="rq-pad"><JsonTree text={tree} label={side === "request" ? "Request body" : "Response body"} height="70vh" /></div>
      )}
      {text !== undefined && text !== "" && shown === "text" && (
        <div className="rq-pad">
          <pre className="code lines wire rq-raw" tabIndex={0}>{text.slice(0, LONGEST)}</pre>
          {text.length > LONGEST && <p className="caption">{`The first ${count(LONGEST)} of ${count(text.length)} characters. Copy or download it to see the rest.`}</p>}
        </div>
      )}
    </div>
  );
}
