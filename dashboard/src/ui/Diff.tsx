import { lazy, Suspense } from "react";
import { Skeleton } from "./States.tsx";

export interface DiffProps {
  label: string;
  before: string;
  after: string;
}

const DiffView = lazy(() => import("./DiffView.tsx"));

/** What changed from one text to another, word by word; the code is fetched with the first comparison. */
export function Diff(props: DiffProps) {
  return (
    <Suspense fallback={<Skeleton height="80px" />}>
      <DiffView {...props} />
    </Suspense>
  );
}
