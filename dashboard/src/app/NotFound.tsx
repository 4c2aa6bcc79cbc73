import { Link, useLocation } from "wouter";
import { readSegment } from "../lib/path.ts";
import { EmptyState } from "../ui/States.tsx";
import { PageHead } from "./Layout.tsx";

export function NotFound() {
  const [path] = useLocation();
  const id = /^\/go\/req\/([^/]+)$/.exec(path)?.[1];
  const title = id ? "No such request" : "No such page";
  return (
    <>
      <PageHead title={title} />
      <EmptyState title={title} action={<Link className="btn" href={id ? "/requests" : "/"}>{id ? "Requests" : "Overview"}</Link>}>
        {id ? (
          <>
            No request has the id <span className="mono wire">{readSegment(id)}</span>, nor the beginning of one, and no
            provider gave it to an answer among the newest requests, which is as far as there was time to look.
          </>
        ) : (
          "Nothing is shown at this address. To find a request, session or trace by its id, press Ctrl K and paste it."
        )}
      </EmptyState>
    </>
  );
}
