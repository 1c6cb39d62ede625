// Microphone as pieces of PCM16 at the rate of the audio device.
const MAX_SAMPLE_RATE = 48000; // Hz, of /v1/live

export async function openMicrophone(cancelEcho) {
  if (!navigator.mediaDevices) throw new Error("The browser allows the microphone on https or localhost only.");
  let stream, context;
  const close = () => {
    stream?.getTracks().forEach((track) => track.stop());
    if (context && context.state !== "closed") context.close();
  };
  try {
    const processing = { echoCancellation: cancelEcho, noiseSuppression: cancelEcho, autoGainControl: cancelEcho };
    stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, ...processing } });
    // A rate other than the device's is not possible in every browser.
    context = new AudioContext();
    if (context.sampleRate > MAX_SAMPLE_RATE) {
      await context.close();
      context = new AudioContext({ sampleRate: MAX_SAMPLE_RATE });
    }
    await context.audioWorklet.addModule(new URL("live_worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "pcm16", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    context.createMediaStreamSource(stream).connect(node);
    return {
      sampleRate: context.sampleRate,
      listen: (onSamples) => (node.port.onmessage = ({ data }) => onSamples(data)),
      close,
    };
  } catch (error) {
    close();
    throw new Error(`The microphone cannot be used: ${error.message}.`);
  }
}
