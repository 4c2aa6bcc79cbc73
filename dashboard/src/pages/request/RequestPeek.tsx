/**
 * A request in a panel beside a list: the same view in less room.
 *
 * The list owns the panel's place, its keys J, K, Enter and Esc, and what is selected; this shows it.
 */
import { Link } from "wouter";
import { address, pageOf } from "../../lib/path.ts";
import { IconButton } from "../../ui/Button.tsx";
import { Id } from "../../ui/CopyButton.tsx";
import { Menu } from "../../ui/Menu.tsx";
import { ErrorState, Skeleton, SkeletonRows } from "../../ui/States.tsx";
import { COPY_GROUPS, copyAs, type Form } from "./actions.ts";
import { nameOf, useDetail } from "./api.ts";
import { StatusOf } from "./Facts.tsx";
import { RequestView } from "./RequestView.tsx";

export interface RequestPeekProps {
  id: string;
  onClose(): void;
  /** Go to the next (1) or previous (-1) row; without it the list has no others. */
  onStep?(by: 1 | -1): void;
  /** Where the whole page is; with the list's filter, so that J and K go on through it. */
  href?: string;
}

export function RequestPeek({ id, onClose, onStep, href = pageOf.request(id) }: RequestPeekProps) {
  const answer = useDetail(id);
  const detail = answer.data;
  return (
    <section className="rq-peek" aria-label="Request">
      <header className="rq-peek-head">
        <div className="crumb">
          <h2 className="ellipsis wire">{detail ? nameOf(detail) : <Skeleton width="120px" />}</h2>
          {detail && <StatusOf detail={detail} />}
          <Id id={id} shown={shortId(id)} />
        </div>
        <div className="tools">
          {onStep && <IconButton icon="up" label="Previous" keys="k" onClick={() => onStep(-1)} />}
          {onStep && <IconButton icon="down" label="Next" keys="j" onClick={() => onStep(1)} />}
          <Menu size="small" label="Copy" groups={COPY_GROUPS} onAction={(form) => void copyAs(id, form as Form, address(href))} />
          <Link className="btn small" href={href}>Open</Link>
          <IconButton icon="cross" label="Close" keys="Escape" onClick={onClose} />
        </div>
      </header>
      <div className="rq-peek-body" data-stale={answer.isPlaceholderData} aria-busy={answer.isFetching}>
        {detail ? <RequestView key={detail.id} detail={detail} isPanel /> : answer.isError ? <ErrorState error={answer.error} what="The request could not be read" onRetry={() => void answer.refetch()} /> : <SkeletonRows rows={14} />}
      </div>
    </section>
  );
}

/** The end of an id, which differs where the beginning of two made in one moment does not. */
export function shortId(id: string): string {
  return id.length > 14 ? `…${id.slice(-10)}` : id;
}
