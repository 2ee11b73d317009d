"use strict";

// Starts the server as the environment says (HOST, PORT, RELEASE, PYTHON) and stops it on
// SIGTERM or SIGINT: no new connections, requests under way are answered, then it exits.

const { createServer } = require("./app");
const { Worker } = require("./worker");

const { HOST = "127.0.0.1", PORT = "3000", RELEASE = "development", PYTHON = "python3" } = process.env;

async function main() {
  const worker = new Worker(PYTHON);
  await worker.call({ text: "" }); // Python and what it imports are there, or we do not start.

  const server = createServer({ worker, release: RELEASE });
  server.on("error", fail);
  server.listen(Number(PORT), HOST, () => console.log(`listening on http://${HOST}:${PORT}`));

  let stopping = false;
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => {
      if (stopping) return;
      stopping = true;
      server.stop(() => worker.stop());
    });
  }
}

function fail(error) {
  console.error(`single-package: ${error.message}`);
  process.exit(1);
}

main().catch(fail);
