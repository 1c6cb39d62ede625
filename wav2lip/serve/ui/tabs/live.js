// Live tab: a session of /v1/live, with the microphone or text in and MP4 out. docs/live.md describes the messages.
import { openMicrophone } from "./live_microphone.js";
import { FragmentPlayer } from "./live_player.js";

const TEXT_SAMPLE_RATE = 16000; // Hz, of a session without a microphone

function resolve(path) {
  return new URL(path, document.baseURI);
}

export async function mount(element) {
  const find = (role) => element.querySelector(`[data-role=${role}]`);
  const button = (action) => element.querySelector(`[data-action=${action}]`);
  const video = find("video");
  let session = null;
  let hasVoice = false;

  const show = (text, isError = false) => {
    find("status").textContent = text;
    find("status").setAttribute("role", isError ? "alert" : "status");
  };

  const showControls = () => {
    button("start").hidden = session !== null;
    for (const action of ["interrupt", "stop"]) button(action).hidden = session === null;
    find("text").hidden = session === null || !hasVoice;
    for (const role of ["face", "microphone", "echo"]) find(role).disabled = session !== null;
  };

  const stop = (text, isError) => {
    session?.close();
    session = null;
    showControls();
    show(text, isError);
  };

  const start = async () => {
    session = new Session(video, show, stop);
    showControls();
    try {
      await session.open(find("face").value, find("microphone").checked, find("echo").checked);
    } catch (error) {
      stop(error.message, true);
    }
  };

  element.addEventListener("click", (event) => {
    const action = event.target.closest("button")?.dataset.action;
    if (action === "start") start();
    if (action === "interrupt") session?.send({ type: "interrupt" });
    if (action === "stop") stop("Stopped.");
  });
  find("text").addEventListener("submit", (event) => {
    event.preventDefault();
    const input = event.target.querySelector("input");
    session?.send({ type: "say", text: input.value });
    input.value = "";
  });

  const response = await fetch(resolve("v1/live/faces"));
  const { faces, has_voice, error } = await response.json();
  if (error) return show(error, true);
  hasVoice = has_voice;
  find("face").replaceChildren(...faces.map((name) => new Option(name)));
  button("start").disabled = faces.length === 0;
  show(faces.length ? "Ready." : "No face yet: write one with python -m wav2lip.prepare into the folder of --live_faces.");
}

class Session {
  #video;
  #show;
  #stop;
  #socket = null;
  #microphone = null;
  #player = null;
  #isClosed = false;

  // show(text): the state. stop(text, isError): the session has ended.
  constructor(video, show, stop) {
    this.#video = video;
    this.#show = show;
    this.#stop = stop;
  }

  async open(face, useMicrophone, cancelEcho) {
    this.#show("Connecting …");
    if (useMicrophone) {
      const microphone = await openMicrophone(cancelEcho);
      if (this.#isClosed) return microphone.close();
      this.#microphone = microphone;
    }
    const url = resolve("v1/live");
    url.protocol = url.protocol.replace("http", "ws");
    this.#socket = new WebSocket(url);
    this.#socket.binaryType = "arraybuffer";
    const sample_rate = this.#microphone?.sampleRate ?? TEXT_SAMPLE_RATE;
    this.#socket.onopen = () => this.send({ type: "start", face, sample_rate, format: "mp4" });
    this.#socket.onmessage = ({ data }) => {
      if (this.#isClosed) return;
      try {
        if (typeof data === "string") this.#receive(JSON.parse(data));
        else this.#player.append(data);
      } catch (error) {
        this.#stop(error.message, true);
      }
    };
    this.#socket.onclose = () => {
      if (!this.#isClosed) this.#stop("The connection was lost or refused; try again.", true);
    };
  }

  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  close() {
    this.#isClosed = true;
    this.#microphone?.close();
    this.#socket?.close();
    this.#player?.close();
  }

  #receive(message) {
    if (message.type === "ready") {
      this.#player = new FragmentPlayer(this.#video, message.mime_type, (text) => this.#stop(text, true));
      this.#microphone?.listen((samples) => {
        if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(samples);
      });
      this.#show(this.#microphone ? "Speak." : "Type a text.");
    } else if (message.type === "error") {
      this.#stop(message.error, true);
    } else if (message.type === "end") {
      this.#stop("The session has ended.");
    }
  }
}
