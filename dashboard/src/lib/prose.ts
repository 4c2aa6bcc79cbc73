/** Above this a text is shown as it is: nobody reads it rendered, and rendering it would take seconds. */
const MOST_LETTERS = 200_000;
/** Marks times letters: each mark that could begin an emphasis is looked for an end of through all that follows. */
const MOST_SEARCHED = 100_000_000;

/** Say whether Markdown can be made of a text in a moment, whatever somebody wrote to make it last. */
export function canBeRendered(text: string): boolean {
  if (text.length > MOST_LETTERS) return false;
  let marks = 0;
  for (let at = 0; at < text.length; at++) if (text[at] === "*" || text[at] === "_") marks++;
  return marks * text.length <= MOST_SEARCHED;
}
