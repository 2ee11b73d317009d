"use strict";

// A stand-in for the Python process: repeats each question, but dies of "die" and is mute at "slow".

const readline = require("node:readline");

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  if (line.includes("die")) process.exit(3);
  if (!line.includes("slow")) console.log(line);
});
