/** What can be done with a request: copied in some form, or sent again. */
import { getResponse } from "../../lib/api.ts";
import { copy } from "../../lib/clipboard.ts";
import type { MenuGroup } from "../../ui/Menu.tsx";
import { toast, toastError } from "../../ui/Toast.tsx";
import { pathOf } from "./api.ts";

export const FORMS = {
  curl: "curl",
  python: "Python",
  javascript: "JavaScript",
  markdown: "Markdown",
  json: "JSON",
  link: "Link",
  id: "Id",
} as const;
export type Form = keyof typeof FORMS;

export const COPY_GROUPS: readonly MenuGroup[] = [
  { title: "Send it again", items: (["curl", "python", "javascript"] as const).map((form) => ({ id: form, title: FORMS[form] })) },
  { title: "Show it", items: (["markdown", "json", "link", "id"] as const).map((form) => ({ id: form, title: FORMS[form] })) },
];

/** Copy a request in some form, and say so. */
export async function copyAs(id: string, form: Form, link: string): Promise<void> {
  try {
    const text = form === "link" ? new URL(link, location.origin).href : form === "id" ? id : await (await getResponse(pathOf(id, "/code"), { as: form })).text();
    const isCopied = await copy(text);
    toast(isCopied ? `Copied as ${FORMS[form]}` : "The browser did not let it be copied", !isCopied);
  } catch (error) {
    toastError(error);
  }
}
