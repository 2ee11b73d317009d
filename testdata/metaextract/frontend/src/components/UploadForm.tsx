import { useState, type DragEvent } from "react";

interface Props {
  busy: boolean;
  onFile: (file: File) => void;
}

export function UploadForm({ busy, onFile }: Props) {
  const [over, setOver] = useState(false);

  function drop(event: DragEvent) {
    event.preventDefault();
    setOver(false);
    const file = event.dataTransfer.files[0];
    if (file && !busy) onFile(file);
  }

  return (
    <label
      className={over ? "upload over" : "upload"}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => {
        setOver(false);
      }}
      onDrop={drop}
    >
      <input
        type="file"
        disabled={busy}
        onChange={(event) => {
          const file = event.target.files?.[0];
          if (file) onFile(file);
          event.target.value = ""; // so that the same file can be chosen again
        }}
      />
      <strong>{busy ? "Reading…" : "Choose a file"}</strong>
      <span>or drop it here. Images, audio, video, documents.</span>
    </label>
  );
}
