"""The target `iotedge`: devices that an IoT hub tells what to run."""
