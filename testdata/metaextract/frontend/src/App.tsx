import { useEffect, useState } from "react";

import { getExtraction, listRecent, uploadFile, type Extraction, type Summary } from "./api";
import { ExtractionView } from "./components/ExtractionView";
import { RecentList } from "./components/RecentList";
import { UploadForm } from "./components/UploadForm";

export function App() {
  const [recent, setRecent] = useState<Summary[]>();
  const [shown, setShown] = useState<Extraction>();
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();

  useEffect(() => {
    let gone = false;
    listRecent()
      .then((rows) => {
        if (!gone) setRecent(rows);
      })
      .catch((error: unknown) => {
        if (!gone) setProblem(messageOf(error));
      });
    return () => {
      gone = true;
    };
  }, []);

  async function show(load: () => Promise<Extraction>) {
    setBusy(true);
    setProblem(undefined);
    try {
      setShown(await load());
    } catch (error) {
      setProblem(messageOf(error));
    } finally {
      setBusy(false);
    }
  }

  async function uploadAndList(file: File): Promise<Extraction> {
    const extraction = await uploadFile(file);
    setRecent((rows = []) => [extraction, ...rows].slice(0, 20));
    return extraction;
  }

  return (
    <>
      <header>
        <h1>MetaExtract</h1>
        <p>See what a file says about itself.</p>
      </header>
      <main>
        <div className="column">
          <UploadForm busy={busy} onFile={(file) => void show(() => uploadAndList(file))} />
          {problem && (
            <p className="problem" role="alert">
              {problem}
            </p>
          )}
          <RecentList
            rows={recent}
            current={shown?.id}
            onOpen={(id) => void show(() => getExtraction(id))}
          />
        </div>
        <ExtractionView extraction={shown} />
      </main>
    </>
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
