/**
 * A request in a panel beside a list: the same view in less room.
 *
 * The list owns the panel, its keys and what is selected; this shows it. What of the view stands in the address is the
 * same as on the page: `tab=`, `look=`, `with=`.
 */
import { address, pageOf } from "../../lib/path.ts";
import { Menu } from "../../ui/Menu.tsx";
import { ErrorState, SkeletonRows } from "../../ui/States.tsx";
import { COPY_GROUPS, copyAs, type Form } from "./actions.ts";
import { nameOf, useDetail } from "./api.ts";
import { StatusOf } from "./Facts.tsx";
import { RequestView } from "./RequestView.tsx";

export default function RequestPeek({ id }: { id: string }) {
  const answer = useDetail(id);
  const detail = answer.data;
  if (!detail) return answer.isError ? <ErrorState error={answer.error} what="The request could not be read" onRetry={() => void answer.refetch()} /> : <SkeletonRows rows={14} />;
  return (
    <div className="rq-peek" data-stale={answer.isPlaceholderData} aria-busy={answer.isFetching}>
      <header className="rq-peek-head">
        <h2 className="ellipsis wire">{nameOf(detail)}</h2>
        <StatusOf detail={detail} />
        <Menu className="end" size="small" label="Copy as" groups={COPY_GROUPS} onAction={(form) => void copyAs(id, form as Form, address(pageOf.request(id)))} />
      </header>
      <RequestView key={detail.id} detail={detail} isPanel />
    </div>
  );
}
