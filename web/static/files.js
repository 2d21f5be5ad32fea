// Files for the viewer.
import { announce, ask } from "./live.js";

export const TYPES = { csv: "text/csv", parquet: "application/vnd.apache.parquet" };

/** Give the viewer a file. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** Fetch what a path of the API has as a file of this kind, and give it to the viewer; `say` writes how that goes. */
export async function download(path, kind, name, say) {
  say("Fetching …");
  try {
    const answer = await ask(`/api/v1/${path}`, { headers: { Accept: TYPES[kind] } }, 120000);
    if (!answer.ok) throw new Error((await answer.json()).detail);
    save(await answer.blob(), `${name}.${kind}`);
  } catch (error) {
    return void say(error.message);
  }
  say("");
  announce(`${kind} is saved`);
}
