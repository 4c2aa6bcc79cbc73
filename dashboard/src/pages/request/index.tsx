/** One request on a page of its own: /requests/:id, with the list's filter and order for next and previous. */
import { Link, useLocation, useParams } from "wouter";
import { PageHead } from "../../app/Layout.tsx";
import { boot, may } from "../../lib/boot.ts";
import { useCommands } from "../../lib/keys.ts";
import { address, pageOf, query, readSegment } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { text, useUrlState } from "../../lib/url.ts";
import { Button, IconButton } from "../../ui/Button.tsx";
import { Id } from "../../ui/CopyButton.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { Menu } from "../../ui/Menu.tsx";
import { EmptyState, ErrorState, Skeleton } from "../../ui/States.tsx";
import { toast } from "../../ui/Toast.tsx";
import { Problem } from "../../lib/api.ts";
import { COPY_GROUPS, copyAs, type Form } from "./actions.ts";
import { nameOf, pathOf, useDetail } from "./api.ts";
import { StatusOf } from "./Facts.tsx";
import { RequestView } from "./RequestView.tsx";

/** The list that one came from. */
const LIST = { q: text(), sort: text(), from: text(), to: text() } as const;

export default function RequestPage() {
  const id = readSegment(useParams<{ id: string }>().id ?? "");
  const [, navigate] = useLocation();
  const [list] = useUrlState(LIST);
  const asked = { q: list.q, sort: list.sort, from: list.from, to: list.to };
  const answer = useDetail(id);
  const beside = useRead<{ previous: string | null; next: string | null; is_known: boolean }>(pathOf(id, "/neighbours"), asked, { fresh: true });
  const detail = answer.data;
  const hrefOf = (other: string) => `${pageOf.request(other)}${query({ ...asked, tab: new URLSearchParams(location.search).get("tab") ?? "" })}`;
  const step = (other: string | null | undefined) => {
    if (other) navigate(hrefOf(other));
    else if (beside.data && !beside.data.is_known) toast("The list is too long to find its neighbours in this order: narrow it by time");
  };
  const link = () => address(pageOf.request(id)) + location.search;
  const listHref = pageOf.requests(list.q, { sort: list.sort, from: list.from, to: list.to });
  useCommands([
    { keys: "j", title: "Next request", group: "Request", run: () => step(beside.data?.next) },
    { keys: "k", title: "Previous request", group: "Request", run: () => step(beside.data?.previous) },
    { keys: "c", title: "Copy as curl", group: "Request", run: () => void copyAs(id, "curl", link()) },
    { keys: "y", title: "Copy link", group: "Request", run: () => void copyAs(id, "link", link()) },
    { keys: "Escape", title: "Back to the list", group: "Request", run: () => navigate(listHref) },
  ]);
  useCommands([{ keys: "r", title: "Replay with edits", group: "Request", run: () => navigate(pageOf.replay(id)) }], may("editor"));

  return (
    <>
      <PageHead
        crumbs={[["Requests", listHref]]}
        title={detail ? nameOf(detail) : answer.isError ? "Request" : <Skeleton width="140px" />}
        windowTitle={detail ? `${nameOf(detail)}, ${detail.status ?? detail.outcome}` : "Request"}
        beside={
          detail && (
            <>
              <StatusOf detail={detail} />
              <span className="hide-s ellipsis"><Id id={detail.id} shown={shortId(detail.id)} /></span>
            </>
          )
        }
        tools={
          <>
            <IconButton className="hide-s" icon="up" label="Previous" keys="k" disabled={!beside.data?.previous} onClick={() => step(beside.data?.previous)} />
            <IconButton className="hide-s" icon="down" label="Next" keys="j" disabled={!beside.data?.next} onClick={() => step(beside.data?.next)} />
            <Menu className="hide-s" label="Copy as" groups={COPY_GROUPS} onAction={(form) => void copyAs(id, form as Form, link())} />
            {may("editor") && (
              <Link className="btn primary" href={pageOf.replay(id)} aria-keyshortcuts="r">
                <Icon name="play" />
                Replay
              </Link>
            )}
          </>
        }
      />
      {detail ? (
        <div className="rq-page" data-stale={answer.isPlaceholderData} aria-busy={answer.isFetching}>
          <div className="rq-actions">
            <Menu label="Copy as" groups={COPY_GROUPS} onAction={(form) => void copyAs(id, form as Form, link())} />
            <span className="end">
              <Button icon="up" disabled={!beside.data?.previous} onClick={() => step(beside.data?.previous)}>Previous</Button>
              <Button icon="down" disabled={!beside.data?.next} onClick={() => step(beside.data?.next)}>Next</Button>
            </span>
          </div>
          <RequestView detail={detail} />
          <KeyLine />
        </div>
      ) : answer.isError ? (
        <Failed error={answer.error} id={id} onRetry={() => void answer.refetch()} />
      ) : (
        <PageSkeleton />
      )}
    </>
  );
}

function Failed({ error, id, onRetry }: { error: unknown; id: string; onRetry(): void }) {
  if (error instanceof Problem && error.status === 404) {
    return (
      <EmptyState title="No request has this id" action={<Link className="btn" href="/requests">All requests</Link>}>
        <span className="mono wire">{id}</span> is not stored: it was never recorded by {boot.gateway ? boot.gateway : "this Glassline"}, or retention or somebody has deleted it.
      </EmptyState>
    );
  }
  return <ErrorState error={error} what="The request could not be read" onRetry={onRetry} />;
}

const KEYS = [["J", "K", "next, previous"], ["R", "replay with edits"], ["C", "copy as curl"], ["Y", "copy link"], ["[", "]", "tabs"]] as const;

/** The keys of this page, under it. */
function KeyLine() {
  return (
    <p className="rq-keys no-print" aria-hidden="true">
      {KEYS.map((entry) => (
        <span key={entry.at(-1)}>
          {entry.slice(0, -1).map((key) => <kbd key={key}>{key}</kbd>)} {entry.at(-1)}
        </span>
      ))}
      <span className="end"><kbd>?</kbd> all shortcuts</span>
    </p>
  );
}

function PageSkeleton() {
  return (
    <div className="rq" aria-busy="true">
      <span className="sr">Loading</span>
      <Skeleton height="64px" />
      <div className="rq-columns">
        <Skeleton height="480px" />
        <div className="rq-rail">
          <Skeleton height="150px" />
          <Skeleton height="170px" />
          <Skeleton height="180px" />
        </div>
      </div>
    </div>
  );
}

/** The end of an id, which differs where the beginning of two made in one moment does not. */
function shortId(id: string): string {
  return id.length > 14 ? `…${id.slice(-10)}` : id;
}
