/** Everything about one request: on its own page, and in the panel beside a list. */
import { lazy, Suspense } from "react";
import { choice, text, useUrlState } from "../../lib/url.ts";
import { Card } from "../../ui/Card.tsx";
import { Menu } from "../../ui/Menu.tsx";
import { SkeletonRows } from "../../ui/States.tsx";
import { TabPanel, Tabs, type Tab } from "../../ui/Tabs.tsx";
import type { Detail } from "./api.ts";
import { BodyTab } from "./BodyTab.tsx";
import { ConversationTab } from "./Conversation.tsx";
import { ErrorBox, RequestFacts } from "./Facts.tsx";
import { HeadersTab } from "./Headers.tsx";
import { Rail } from "./Rail.tsx";
import { StreamTab, useEvents } from "./Stream.tsx";
import { count } from "../../lib/format.ts";
import "./request.css";

const SMALL = 500_000;
const CompareTab = lazy(() => import("./Compare.tsx"));

export const TABS = ["conversation", "request", "response", "stream", "headers", "compare"] as const;
const LOOKS = ["rendered", "plain", "tokens"] as const;
const LOOK_NAMES = { rendered: "Rendered", plain: "Plain", tokens: "Token count" } as const;

/** What of this view stands in the address. */
export const VIEW = {
  tab: choice(TABS, "conversation", "replace"),
  look: choice(LOOKS, "rendered", "replace"),
  body: choice(["tree", "text"], "tree", "replace"),
  with: text("", "replace"),
} as const;

export function RequestView({ detail, isPanel = false }: { detail: Detail; isPanel?: boolean }) {
  const [state, setState] = useUrlState(VIEW);
  // Of a stream of ordinary length its events are asked for at once: how many there are, and the longest wait.
  const stream = useEvents(detail.id, state.tab === "stream" || (detail.streaming && detail.response_bytes < SMALL));
  const { first } = stream;
  const tabs: Tab<(typeof TABS)[number]>[] = [
    { name: "conversation", title: "Conversation" },
    { name: "request", title: "Request" },
    { name: "response", title: "Response" },
    { name: "stream", title: "Stream", ...(first?.total ? { note: count(first.total) } : {}) },
    { name: "headers", title: "Headers" },
    { name: "compare", title: "Compare" },
  ];
  return (
    <div className={`rq${isPanel ? " rq-panel" : ""}`}>
      {detail.advice && <ErrorBox detail={detail} advice={detail.advice} />}
      <RequestFacts detail={detail} />
      <div className="rq-columns">
        <Card isPadded={false} className="rq-main">
          <Tabs
            label="What of the request"
            tabs={tabs}
            selected={state.tab}
            onSelect={(tab) => setState({ tab })}
            end={
              state.tab === "conversation" && (
                <Menu
                  kind="ghost"
                  size="small"
                  aria-label={`Messages as: ${LOOK_NAMES[state.look]}`}
                  label={LOOK_NAMES[state.look]}
                  groups={[{ items: LOOKS.map((look) => ({ id: look, title: LOOK_NAMES[look] })) }]}
                  selected={new Set([state.look])}
                  onSelect={(ids) => setState({ look: LOOKS.find((look) => ids.has(look)) ?? "rendered" })}
                />
              )
            }
          />
          <TabPanel name={state.tab}>
            {state.tab === "conversation" && <ConversationTab detail={detail} look={state.look} longestGapMs={first?.gaps.longest_ms ?? null} />}
            {(state.tab === "request" || state.tab === "response") && <BodyTab key={state.tab} detail={detail} side={state.tab} look={state.body as "tree" | "text"} onLook={(body) => setState({ body })} />}
            {state.tab === "stream" && <StreamTab detail={detail} stream={stream} />}
            {state.tab === "headers" && <HeadersTab detail={detail} />}
            {state.tab === "compare" && (
              <Suspense fallback={<SkeletonRows rows={8} />}>
                <CompareTab detail={detail} other={state.with} onOther={(id) => setState({ with: id })} />
              </Suspense>
            )}
          </TabPanel>
        </Card>
        <Rail detail={detail} />
      </div>
    </div>
  );
}
