import { BlockList, isIP } from 'node:net';

/** Whether an address lies in one of these addresses or CIDR ranges. A range that can not be read is an error that names it. */
export function addressRanges(ranges: readonly string[]): (address: string) => boolean {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', bits] = range.trim().split('/');
    const family = isIP(address);
    if (family === 0) throw new Error(`"${range}" is not an IP address or a CIDR range such as 10.0.0.0/8.`);
    const type = family === 4 ? 'ipv4' : 'ipv6';
    if (bits === undefined) list.addAddress(address, type);
    else list.addSubnet(address, Number(bits), type);
  }
  return (address) => {
    const family = isIP(address);
    return family !== 0 && list.check(address, family === 4 ? 'ipv4' : 'ipv6');
  };
}
