/** Before the first request: where to send it, and a line that waits for it. */
import { useState } from "react";
import { Link } from "wouter";
import { Problem, send } from "../../lib/api.ts";
import { boot, may } from "../../lib/boot.ts";
import { pageOf } from "../../lib/path.ts";
import { useRead } from "../../lib/queries.ts";
import { Button } from "../../ui/Button.tsx";
import { CopyButton } from "../../ui/CopyButton.tsx";
import { RequestStatus } from "../../ui/Status.tsx";
import { TabPanel, Tabs } from "../../ui/Tabs.tsx";
import { SNIPPETS, type Language } from "./snippets.ts";

interface Newest {
  requests: { id: string; model: string | null; model_requested: string | null; path: string; status: number | null; outcome: string }[];
}

export default function FirstRun() {
  const [language, setLanguage] = useState<Language>("curl");
  const base = boot.gateway || "http://localhost:8080";
  const snippet = SNIPPETS[language].text(base);
  return (
    <section className="card overview-first" aria-label="Send the first request">
      <div className="row">
        <span>Point an application at</span>
        <code className="base wire">{base}/v1</code>
        <CopyButton text={`${base}/v1`} />
        {boot.auth === "virtual" ? (
          <span className="muted">with a <Link className="link" href="/keys">key of Glassline</Link>: no other is let in.</span>
        ) : (
          <span className="muted">and keep its key: it is passed on as it is.</span>
        )}
      </div>
      <div>
        <Tabs<Language> label="Language" tabs={(Object.keys(SNIPPETS) as Language[]).map((name) => ({ name, title: SNIPPETS[name].title }))} selected={language} onSelect={setLanguage} end={<CopyButton text={snippet} />} />
        <TabPanel name={language}>
          <pre className="wire" tabIndex={0}>{snippet}</pre>
        </TabPanel>
      </div>
      <Waiting />
    </section>
  );
}

function Waiting() {
  const [said, setSaid] = useState<string | null>(null);
  const newest = useRead<Newest>("/api/requests", { limit: 1 }, { every: 2_000 });
  const first = newest.data?.requests[0];
  const test = async () => {
    setSaid("Sending a request without a key …");
    try {
      const { status } = await send<{ status: number }>("POST", "/api/test_request");
      setSaid(status === 401 ? `${boot.auth === "virtual" ? "Glassline" : "The provider"} answered, and asked for a key: the way is open.` : status >= 500 ? `It was recorded, but the provider could not be reached (${status}).` : `Answered with ${status}: the way is open.`);
    } catch (error) {
      setSaid(error instanceof Problem ? error.message : String(error));
    }
  };
  return (
    <div className="row" role="status">
      {first ? (
        <>
          <RequestStatus status={first.status} outcome={first.outcome} />
          <Link className="link wire" href={pageOf.request(first.id)}>{first.model ?? first.model_requested ?? first.path}</Link>
          <span className="muted">The first request is here. The overview follows within 15 seconds.</span>
        </>
      ) : (
        <span className="pill live">Waiting for the first request</span>
      )}
      {!first && may("editor") && <Button onClick={() => void test()}>Send a test request</Button>}
      {said && <span className="muted">{said}</span>}
    </div>
  );
}
