"""A generic-8ch board on pymodbus: coils 0-7, discrete inputs 0-7, a Wiegand block in holding registers.

    board.py --tcp PORT | --rtu PATH [--baud N]   [--unit N]

Takes one command per line on standard input, answers each with a line of JSON on standard output:

    input N 0|1              set discrete input N
    holding N VALUE          set a holding register
    card BITS HEX            put a card into registers 101 to 104, then count register 100 up
    fail on|off              answer every request with "device failure", or no longer

and says by itself, with a monotonic time, whenever a client changes a coil:

    {"coil": 0, "value": true, "t": 123.456}
"""

import argparse
import asyncio
import json
import sys
import time

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

WRITE_COILS = (5, 15)
COUNTER, BITS, DATA, DATA_WORDS = 100, 101, 102, 3


def say(**message):
    print(json.dumps(message), flush=True)


class Board:
    def __init__(self):
        self.coils = [False] * 16
        # Doors are closed: the contacts of the example site are on then.
        self.inputs = [True] + [False] * 15
        self.holding = [0] * 128
        self.failing = False

    async def action(self, function, start, address, _count, registers, values):
        """pymodbus asks before each access; `registers` is what it will answer from."""
        if self.failing:
            return ExcCodes.DEVICE_FAILURE
        if values is not None and function in WRITE_COILS:
            for offset, value in enumerate(values):
                coil, value = address + offset, bool(value)
                if self.coils[coil] != value:
                    self.coils[coil] = value
                    say(coil=coil, value=value, t=time.monotonic())
        elif values is not None:
            self.holding[address : address + len(values)] = values
        if function in (1, 2):
            bits = self.coils if function == 1 else self.inputs
            for word in range(len(registers)):
                here = bits[(start + word) * 16 : (start + word + 1) * 16]
                registers[word] = sum(bit << place for place, bit in enumerate(here))
        elif function == 3:
            registers[:] = self.holding[start : start + len(registers)]
        return None

    def device(self, unit):
        bits = lambda: SimData(0, values=[False] * 16, datatype=DataType.BITS)
        registers = lambda: SimData(0, count=len(self.holding), values=0, datatype=DataType.REGISTERS)
        return SimDevice(unit, simdata=([bits()], [bits()], [registers()], [registers()]), action=self.action)

    def obey(self, line):
        match line.split():
            case ["input", number, value]:
                self.inputs[int(number)] = value == "1"
            case ["holding", number, value]:
                self.holding[int(number)] = int(value, 0)
            case ["card", bits, text]:
                value = int(text, 16)
                self.holding[BITS] = int(bits)
                for word in range(DATA_WORDS):
                    self.holding[DATA + word] = value >> (16 * (DATA_WORDS - 1 - word)) & 0xFFFF
                self.holding[COUNTER] = (self.holding[COUNTER] + 1) & 0xFFFF
            case ["fail", value]:
                self.failing = value == "on"
            case _:
                say(error=f"not understood: {line!r}")
                return
        say(ok=line)


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--tcp", type=int)
    arguments.add_argument("--rtu")
    arguments.add_argument("--baud", type=int, default=115200)
    arguments.add_argument("--unit", type=int, default=1)
    options = arguments.parse_args()
    board = Board()
    device = board.device(options.unit)
    if options.rtu:
        server = ModbusSerialServer(device, framer=FramerType.RTU, port=options.rtu, baudrate=options.baud)
    else:
        server = ModbusTcpServer(device, address=("127.0.0.1", options.tcp))
    await server.serve_forever(background=True)
    say(ready=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        board.obey(line.decode().strip())
    await server.shutdown()


asyncio.run(main())
