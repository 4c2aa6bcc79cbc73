/** What was said of an answer, by applications and by people; who may, says it here. */
import { useRef } from "react";
import { send } from "../../lib/api.ts";
import { may } from "../../lib/boot.ts";
import { percent } from "../../lib/format.ts";
import { client, forget } from "../../lib/queries.ts";
import { IconButton } from "../../ui/Button.tsx";
import { Card } from "../../ui/Card.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { Time } from "../../ui/Time.tsx";
import { toastError } from "../../ui/Toast.tsx";
import type { Detail, Feedback } from "./api.ts";
import { toldBy, withFeedback } from "./words.ts";

/** The name under which people say it, here and in applications. */
const NAME = "user";
const DETAIL = /^\/api\/requests\/[^/]+$/;

export function FeedbackCard({ detail }: { detail: Detail }) {
  const isSaying = useRef(false);
  const own = detail.feedback.find((each) => each.is_own && each.name === NAME)?.value;
  // Of a failure there is no answer to judge.
  if (!detail.feedback.length && (!may("editor") || detail.advice)) return null;

  const say = async (value: number) => {
    if (isSaying.current) return;
    isSaying.current = true;
    try {
      const said = await send<Feedback>("POST", "/api/feedback", { request: detail.id, value: own === value ? null : value });
      // It is recorded a moment later, so it is shown as it was said.
      client.setQueriesData<Detail>({ predicate: ({ queryKey }) => DETAIL.test(String(queryKey[0])) }, (old) => (old?.id === said.request ? { ...old, feedback: withFeedback(old.feedback, said) } : old));
      void forget("/api/quality");
    } catch (error) {
      toastError(error);
    } finally {
      isSaying.current = false;
    }
  };
  return (
    <Card
      title="Feedback"
      className="rq-feedback"
      end={
        may("editor") && (
          <>
            <IconButton size="small" icon="good" label="Good answer" aria-pressed={own === 1} onClick={() => void say(1)} />
            <IconButton size="small" icon="bad" label="Bad answer" aria-pressed={own === 0} onClick={() => void say(0)} />
          </>
        )
      }
    >
      {detail.feedback.length ? (
        <ul>
          {detail.feedback.map((each) => <Line key={`${each.name} ${each.source}`} said={each} />)}
        </ul>
      ) : (
        <p className="muted">Nobody has said anything of this answer.</p>
      )}
    </Card>
  );
}

function Line({ said }: { said: Feedback }) {
  const value = said.value ?? 0;
  const word = value === 1 ? "Good" : value === 0 ? "Bad" : percent(value);
  return (
    <li data-level={value > 0.5 ? "good" : value < 0.5 ? "bad" : "even"}>
      <Icon name={value > 0.5 ? "good" : value < 0.5 ? "bad" : "dash"} />
      <p>
        <b>{word}</b>
        {said.name !== NAME && <span className="wire">, {said.name}</span>} <span className="muted">by <span className="wire">{toldBy(said)}</span>, <Time ms={said.at} isRelative /></span>
      </p>
      {said.comment && <p className="wire comment">{said.comment}</p>}
    </li>
  );
}
